// every gateway of one API Management service, its token in a new vault
using '../main.bicep'

param location = 'westeurope'
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
