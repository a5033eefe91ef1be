// the app answers two address ranges, and a private endpoint beside them
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = sample.estate
param signIn = sample.signIn
param inbound = {
  privateEndpointSubnetId: '${sample.one}/rg-net/providers/Microsoft.Network/virtualNetworks/hub/subnets/endpoints'
  allowedAddresses: ['203.0.113.0/24', '2001:db8::/32']
}
param alerts = 'none'
