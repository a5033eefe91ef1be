// the smallest estate that renews something
using '../../../infra/main.bicep'

param location = 'westeurope'

param estate = {
  services: {
    contoso: {
      resourceId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-apim/providers/Microsoft.ApiManagement/service/contoso-apim'
      gateways: {
        '*': {
          destinations: [
            {
              kind: 'keyVault'
              vault: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/contoso-gateways'
            }
          ]
        }
      }
    }
  }
  access: [
    {
      caller: { appRole: 'GatewayToken.Operate' }
      gateways: ['contoso/*']
      allow: ['issue', 'renew', 'read']
    }
    {
      caller: { appRole: 'GatewayToken.Issue' }
      gateways: ['contoso/edge-*']
      allow: ['issue']
      maxLifetime: 'P1D'
    }
  ]
}

param signIn = {
  clientId: '44444444-4444-4444-4444-444444444444'
  allowedApplications: ['04b07795-8ddb-461a-bbee-02f9e1bf7b46']
}

param alertEmail = 'platform-team@contoso.example'
