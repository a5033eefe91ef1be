metadata name = 'Private endpoint'
metadata description = 'One private endpoint into an existing subnet, with its name in an existing private DNS zone.'

import { tagsType } from '../types.bicep'

@description('Required. The name of the private endpoint.')
param name string

@description('Required. Which service of the target it reaches.')
param service string

@description('Required. The resource id of the target.')
param targetId string

@description('Required. The resource id of the subnet.')
param subnetId string

@description('Optional. The resource id of the private DNS zone. Default: a policy of yours registers the name.')
param dnsZoneId string?

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

resource endpoint 'Microsoft.Network/privateEndpoints@2025-09-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: { id: subnetId }
    privateLinkServiceConnections: [
      {
        name: service
        properties: {
          privateLinkServiceId: targetId
          groupIds: [service]
        }
      }
    ]
  }
}

resource zone 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-09-01' = if (dnsZoneId != null) {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: service
        properties: { privateDnsZoneId: dnsZoneId! }
      }
    ]
  }
}
