metadata name = 'Event topics'
metadata description = 'The system topics of the API Management services of one resource group: new ones, or those that exist already.'

import { tagsType } from '../types.bicep'

@description('Required. The names of the services.')
param serviceNames string[]

@description('Required. The name of each service\'s topic, in the same order.')
param topicNames string[]

@description('Required. Those among the topics that exist already. They need a system-assigned identity.')
param existingTopics string[]

@description('Required. Tags of every resource.')
param tags tagsType

var newTopicNames = filter(topicNames, name => !contains(existingTopics, name))

resource services 'Microsoft.ApiManagement/service@2024-05-01' existing = [
  for name in serviceNames: {
    name: name
  }
]

// In a deployment of their own, which gets the regions: a topic must be in the region of its service.
module newTopics 'newEventTopics.bicep' = {
  params: {
    topicNames: newTopicNames
    serviceIds: [for name in newTopicNames: services[indexOf(topicNames, name)].id]
    locations: [for name in newTopicNames: services[indexOf(topicNames, name)].location]
    tags: tags
  }
}

resource oldTopics 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = [
  for name in topicNames: if (contains(existingTopics, name)) {
    name: name
  }
]

@description('The object id of each topic\'s identity, which delivers.')
output principalIds string[] = [
  for (name, index) in topicNames: contains(existingTopics, name)
    ? oldTopics[index]!.identity.principalId
    : newTopics.outputs.principalIds[indexOf(newTopicNames, name)]
]
