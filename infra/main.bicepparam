// The one file to fill in. Everything here is an example: replace it, and delete what you do not need.
// Full list of parameters with their defaults: main.bicep. Types of the estate: estate.bicep.
using './main.bicep'

// The region of the function app. `azd` sets AZURE_LOCATION; without it the second value holds.
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')

param resourceGroupName = 'rg-gateway-tokens'

// `azd` finds what it deployed by this tag. Without azd the tag does no harm.
param tags = {
  'azd-env-name': readEnvironmentVariable('AZURE_ENV_NAME', 'production')
}

// The estate. Every right that the app gets follows from it, wherever the resources are.
param estate = {
  services: {
    // The name that callers use. It need not be the name of the resource.
    contoso: {
      resourceId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-apim/providers/Microsoft.ApiManagement/service/contoso-apim'
      gateways: {
        // Every self-hosted gateway of the service, those made later included.
        '*': {
          lifetime: 'P30D'
          renewBefore: 'P10D'
          destinations: [
            {
              kind: 'keyVault'
              vault: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/contoso-gateways'
              secret: '{gateway}-token'
            }
          ]
        }
        // One gateway, its own way: straight into its cluster, and restarted.
        'edge-01': {
          lifetime: 'P7D'
          destinations: [
            {
              kind: 'kubernetes'
              cluster: '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-edge/providers/Microsoft.ContainerService/managedClusters/edge-aks'
              namespace: 'gateways'
              secret: '{gateway}-token'
              layout: 'helm'
              restart: {
                kind: 'Deployment'
                name: '{gateway}'
              }
            }
          ]
        }
        // A cluster that does not know Entra: it is signed in to with a token from a vault.
        'plant-*': {
          destinations: [
            {
              kind: 'kubernetes'
              server: 'https://plant.contoso.example:6443'
              signIn: {
                vault: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/contoso-clusters'
                secret: 'plant-service-account'
              }
              namespace: 'gateways'
            }
          ]
        }
        // Left alone.
        'lab-*': {
          renew: false
        }
      }
    }
    // Another service, in another subscription. Tokens are issued on request, none is renewed.
    fabrikam: {
      resourceId: '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-fabrikam/providers/Microsoft.ApiManagement/service/fabrikam-apim'
    }
  }
  // Closed unless a rule opens.
  access: [
    {
      caller: { appRole: 'GatewayToken.Issue' }
      gateways: ['contoso/edge-*']
      allow: ['issue']
      maxLifetime: 'P1D'
    }
    {
      caller: { objectId: '33333333-3333-3333-3333-333333333333' }
      gateways: ['*/*']
      allow: ['issue', 'renew', 'read']
    }
  ]
}

// Callers sign in with Entra, through these applications. With `allowFunctionKeys = true` it may be left out: then the
// rules above must say `functionKey: true`.
param signIn = {
  clientId: '44444444-4444-4444-4444-444444444444'
  allowedApplications: ['77777777-7777-7777-7777-777777777777']
}

// Whom to tell. Left out together with alertEmail, the deployment asks for `alerts = 'none'`.
param actionGroupId = '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-monitoring/providers/Microsoft.Insights/actionGroups/platform-team'
