// lists that are empty, so that they would lock everybody out
using '../../../infra/main.bicep'

param location = 'westeurope'
param estate = {
  services: {}
  access: [
    { caller: { appRole: 'GatewayToken.Issue' }, gateways: [], allow: [] }
  ]
}
param signIn = {
  clientId: '44444444-4444-4444-4444-444444444444'
  allowedApplications: []
  audiences: []
}
param inbound = { allowedAddresses: [] }
