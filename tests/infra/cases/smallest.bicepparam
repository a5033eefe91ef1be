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
      caller: { functionKey: true }
      gateways: ['contoso/*']
      allow: ['issue', 'renew', 'read']
    }
  ]
}
param allowFunctionKeys = true
param alertEmail = 'platform-team@contoso.example'
