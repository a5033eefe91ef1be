// all of it in a virtual network, with a new vault; two instances that always run
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = sample.estate
param signIn = sample.signIn
param newVaultName = 'kv-contoso-tokens'
param network = {
  integrationSubnetId: '${sample.one}/rg-net/providers/Microsoft.Network/virtualNetworks/hub/subnets/functions'
  privateEndpointSubnetId: '${sample.one}/rg-net/providers/Microsoft.Network/virtualNetworks/hub/subnets/endpoints'
  blobDnsZoneId: '${sample.one}/rg-net/providers/Microsoft.Network/privateDnsZones/privatelink.blob.core.windows.net'
}
param deliverEvents = false
param alerts = 'none'
param inbound = {
  privateEndpointSubnetId: '${sample.one}/rg-net/providers/Microsoft.Network/virtualNetworks/hub/subnets/endpoints'
  dnsZoneId: '${sample.one}/rg-net/providers/Microsoft.Network/privateDnsZones/privatelink.azurewebsites.net'
}
param alwaysReady = 2
