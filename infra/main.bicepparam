// The one file to fill in. It renews the tokens of every gateway of one API Management service into a new vault; the other
// files in examples/ are for AKS, for any Kubernetes cluster and for several teams. All parameters: main.bicep. The types of the
// estate: estate.bicep.
using './main.bicep'

// `azd` sets AZURE_LOCATION and finds what it deployed by the tag. Without azd neither does any harm.
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param tags = {
  'azd-env-name': readEnvironmentVariable('AZURE_ENV_NAME', 'production')
}
// Globally unique. Gateways read their tokens here: by the CSI driver, External Secrets or a Key Vault reference.
param newVaultName = 'kv-contoso-gateways'
param alertEmail = 'platform-team@contoso.example'

param estate = {
  services: {
    contoso: {
      resourceId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-apim/providers/Microsoft.ApiManagement/service/contoso-apim'
      gateways: {
        '*': { destinations: [{ kind: 'keyVault' }] }
      }
    }
  }
  access: [
    {
      caller: { appRole: 'GatewayToken.Operator' }
      gateways: ['contoso/*']
      allow: ['issue', 'renew', 'read']
    }
  ]
}

param signIn = {
  clientId: '44444444-4444-4444-4444-444444444444' // the app registration
  allowedApplications: ['55555555-5555-5555-5555-555555555555'] // who may call it
}
