metadata name = 'The plant'
metadata description = 'The part of the estate that one team answers for.'

@export()
@description('The API Management services of the team.')
var services = {
  plant: {
    resourceId: '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-plant/providers/Microsoft.ApiManagement/service/plant-apim'
    gateways: {
      '*': {
        destinations: [
          {
            kind: 'keyVault'
            vault: '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-plant/providers/Microsoft.KeyVault/vaults/plant-gateways'
          }
        ]
      }
    }
  }
}

@export()
@description('Who may do what with the gateways of the team.')
var access = [
  { caller: { appRole: 'GatewayToken.Plant' }, gateways: ['plant/*'], allow: ['issue', 'read'] }
]
