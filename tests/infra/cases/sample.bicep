metadata name = 'Sample'
metadata description = 'What the cases share.'

@export()
@description('The beginning of the resource ids of one subscription.')
var one = '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups'

@export()
@description('The beginning of the resource ids of another subscription.')
var two = '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups'

@export()
@description('An API Management service.')
var contoso = '${one}/rg-apim/providers/Microsoft.ApiManagement/service/contoso-apim'

@export()
@description('A vault.')
var vault = '${one}/rg-vaults/providers/Microsoft.KeyVault/vaults/contoso-gateways'

@export()
@description('An estate that is as it should be: one service, all gateways, one vault.')
var estate = {
  services: {
    contoso: {
      resourceId: contoso
      gateways: {
        '*': {
          destinations: [
            {
              kind: 'keyVault'
              vault: vault
            }
          ]
        }
      }
    }
  }
}

@export()
@description('The app registration that callers ask tokens for.')
var signIn = {
  clientId: '44444444-4444-4444-4444-444444444444'
  allowedApplications: ['77777777-7777-7777-7777-777777777777']
}
