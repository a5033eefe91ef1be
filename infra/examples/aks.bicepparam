// gateways in AKS clusters that use Entra: straight into their Secrets, and restarted
using '../main.bicep'

param location = 'westeurope'
param alertEmail = 'platform-team@contoso.example'

param estate = {
  services: {
    contoso: {
      resourceId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-apim/providers/Microsoft.ApiManagement/service/contoso-apim'
      gateways: {
        'edge-*': {
          destinations: [
            {
              kind: 'kubernetes' // apply kubernetes-rbac.yaml in the namespace
              cluster: '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-edge/providers/Microsoft.ContainerService/managedClusters/edge-aks'
              namespace: 'gateways'
              restart: { name: '{gateway}' }
            }
          ]
        }
      }
    }
  }
  access: [
    { caller: { appRole: 'GatewayToken.Operator' }, gateways: ['contoso/*'], allow: ['renew', 'read'] }
  ]
}

param signIn = {
  clientId: '44444444-4444-4444-4444-444444444444' // the app registration
  allowedApplications: ['55555555-5555-5555-5555-555555555555'] // who may call it
}
