metadata name = 'Event topic'
metadata description = 'The system topic of one API Management service, beside it: a new one, or the one it has already.'

import { tagsType } from '../types.bicep'

@description('Required. The name of the API Management service.')
param serviceName string

@description('Required. The region of the API Management service.')
param location string

@description('Optional. The name of the system topic that the service has already, with a system-assigned identity.')
param existingName string?

@description('Required. Tags of every resource.')
param tags tagsType

resource service 'Microsoft.ApiManagement/service@2024-05-01' existing = {
  name: serviceName
}

resource newTopic 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (existingName == null) {
  name: 'evgt-${take(serviceName, 45)}'
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    source: service.id
    topicType: 'Microsoft.ApiManagement.Service'
  }
}

resource oldTopic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = if (existingName != null) {
  name: existingName ?? 'none'
}

@description('The name of the system topic.')
output name string = existingName ?? newTopic.name

@description('The object id of the topic\'s identity, which delivers.')
output principalId string = existingName == null ? newTopic!.identity.principalId : oldTopic!.identity.principalId
