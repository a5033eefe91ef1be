metadata name = 'New event topics'
metadata description = 'System topics beside the API Management services of one resource group.'

import { tagsType } from '../types.bicep'

@description('Required. The names of the topics.')
param topicNames string[]

@description('Required. The resource id of each topic\'s service, in the same order.')
param serviceIds string[]

@description('Required. The region of each service.')
param locations string[]

@description('Required. Tags of every resource.')
param tags tagsType

resource topics 'Microsoft.EventGrid/systemTopics@2025-02-15' = [
  for (name, index) in topicNames: {
    name: name
    location: locations[index]
    tags: tags
    identity: { type: 'SystemAssigned' }
    properties: {
      source: serviceIds[index]
      topicType: 'Microsoft.ApiManagement.Service'
    }
  }
]

@description('The object id of each topic\'s identity.')
output principalIds string[] = [for (name, index) in topicNames: topics[index].identity.principalId]
