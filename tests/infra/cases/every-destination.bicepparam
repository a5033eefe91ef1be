// every kind of destination, in several subscriptions, with optional fields that are null
using '../../../infra/main.bicep'

param location = 'westeurope'

param estate = {
  services: {
    contoso: {
      resourceId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-apim/providers/Microsoft.ApiManagement/service/contoso-apim'
      gateways: {
        '*': {
          lifetime: null
          rotateKeys: { every: 'P90D' }
          otherConsumers: null
          destinations: [
            {
              kind: 'keyVault'
              vault: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/contoso-gateways'
              form: null
            }
          ]
        }
        'edge-01': {
          lifetime: 'P7D'
          otherConsumers: true
          destinations: [
            {
              kind: 'kubernetes'
              cluster: '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-edge/providers/Microsoft.ContainerService/managedClusters/edge-aks'
              server: null
              signIn: null
              restart: { name: '{gateway}', kind: null }
            }
          ]
        }
        'plant-*': {
          destinations: [
            {
              kind: 'kubernetes'
              server: 'https://plant.contoso.example:6443'
              signIn: {
                vault: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/contoso-clusters'
                secret: 'plant-service-account'
              }
              restart: null
              restarts: [
                { kind: 'DaemonSet', name: '{gateway}', timeout: null }
                { kind: 'Rollout', name: '{gateway}-canary' }
              ]
            }
          ]
        }
        'lab-*': {
          renew: false
          destinations: [
            {
              kind: 'keyVault'
              vault: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/not-granted'
            }
          ]
        }
      }
    }
    // The same service under another name and spelling: it is granted once.
    contosoAgain: {
      resourceId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/RG-APIM/providers/Microsoft.ApiManagement/service/Contoso-APIM'
      gateways: null
    }
    fabrikam: {
      resourceId: '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-fabrikam/providers/Microsoft.ApiManagement/service/fabrikam-apim'
    }
  }
  access: [
    {
      caller: { appRole: 'GatewayToken.Issue', objectId: null }
      gateways: ['contoso/edge-*']
      allow: ['issue', 'revoke']
      maxLifetime: null
    }
  ]
  checkAlive: false
}

param signIn = {
  clientId: '44444444-4444-4444-4444-444444444444'
  allowedApplications: ['77777777-7777-7777-7777-777777777777']
}
param alerts = 'none'
param workbook = false
param logFreshRows = true
