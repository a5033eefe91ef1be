metadata name = 'Events'
metadata description = 'Delivers what happens to the gateways of every API Management service to the app\'s queue, with managed identity.'

import { idsIn, nameOf, namesIn, resourceGroupsOf } from '../estate.bicep'
import { tagsType, topicNamesType } from '../types.bicep'

@description('Required. The resource ids of the API Management services, in lower case.')
param services string[]

@description('Required. System topics that exist already, by the lower-case name of the service.')
param existingTopics topicNamesType

@description('Required. The name of the event subscriptions.')
param subscriptionName string

@description('Required. The name of the storage account, in the group of this deployment.')
param storageAccountName string

@description('Required. The name of the queue.')
param queueName string

@description('Required. Enters the names of all assignments.')
param generation int

@description('Required. Tags of every resource.')
param tags tagsType

// A service has one system topic at most. A name that is cut holds a digest of the id, so that no two are alike.
func topicName(id string, existingTopics topicNamesType) string =>
  existingTopics[?nameOf(id)] ?? (length(nameOf(id)) <= 45
    ? 'evgt-${nameOf(id)}'
    : 'evgt-${take(nameOf(id), 31)}-${uniqueString(id)}')

var groups = resourceGroupsOf(services)

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageAccountName
}

module topics 'eventTopics.bicep' = [
  for group in groups: {
    scope: resourceGroup(split(group, '/')[2], split(group, '/')[4])
    params: {
      serviceNames: namesIn(group, services)
      topicNames: map(idsIn(group, services), id => topicName(id, existingTopics))
      existingTopics: map(items(existingTopics), topic => topic.value)
      tags: tags
    }
  }
]

module senders 'eventSenders.bicep' = {
  params: {
    storageAccountName: storageAccountName
    queueName: queueName
    topicIds: flatten(map(
      groups,
      group =>
        map(
          idsIn(group, services),
          id =>
            '${group}/providers/microsoft.eventgrid/systemtopics/${toLower(topicName(id, existingTopics))}'
        )
    ))
    principalIds: [for (group, index) in groups: topics[index].outputs.principalIds]
    generation: generation
  }
}

module subscriptions 'eventSubscriptions.bicep' = [
  for group in groups: {
    scope: resourceGroup(split(group, '/')[2], split(group, '/')[4])
    params: {
      topicNames: map(idsIn(group, services), id => topicName(id, existingTopics))
      name: subscriptionName
      storageAccountId: account.id
      queueName: queueName
    }
    // Azure refuses a subscription whose identity may not send.
    dependsOn: [senders]
  }
]
