metadata name = 'The shop'
metadata description = 'The part of the estate that one team answers for.'

@export()
@description('The API Management services of the team.')
var services = {
  shop: {
    resourceId: '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/rg-shop/providers/Microsoft.ApiManagement/service/shop-apim'
    gateways: {
      '*': {
        destinations: [
          {
            kind: 'keyVault'
            vault: '/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/rg-shop/providers/Microsoft.KeyVault/vaults/shop-gateways'
          }
        ]
      }
    }
  }
}

@export()
@description('Who may do what with the gateways of the team.')
var access = [
  { caller: { appRole: 'GatewayToken.Shop' }, gateways: ['shop/*'], allow: ['issue', 'read'] }
]
