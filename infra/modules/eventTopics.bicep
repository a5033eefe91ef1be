metadata name = 'Event topics'
metadata description = 'The system topics of the API Management services of one resource group: new ones, or those that exist already.'

import { tagsType } from '../types.bicep'

@description('Required. The names of the services.')
param serviceNames string[]

@description('Required. The name of each service\'s topic, in the same order.')
param topicNames string[]

@description('Required. Whether each topic exists already. It needs a system-assigned identity.')
param existing bool[]

@description('Required. The region of each service.')
param locations string[]

@description('Required. Tags of every resource.')
param tags tagsType

resource services 'Microsoft.ApiManagement/service@2024-05-01' existing = [
  for name in serviceNames: {
    name: name
  }
]

resource newTopics 'Microsoft.EventGrid/systemTopics@2025-02-15' = [
  for (name, index) in topicNames: if (!existing[index]) {
    name: name
    location: locations[index]
    tags: tags
    identity: { type: 'SystemAssigned' }
    properties: {
      source: services[index].id
      topicType: 'Microsoft.ApiManagement.Service'
    }
  }
]

resource oldTopics 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = [
  for (name, index) in topicNames: if (existing[index]) {
    name: name
  }
]

@description('The object id of each topic\'s identity, which delivers.')
output principalIds string[] = [
  for (name, index) in topicNames: existing[index]
    ? oldTopics[index]!.identity.principalId
    : newTopics[index]!.identity.principalId
]
