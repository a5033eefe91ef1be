metadata name = 'Event senders'
metadata description = 'Lets the identities of system topics add messages to one queue.'

import { storageQueueDataMessageSender } from '../rights.bicep'

@description('Required. The name of the storage account.')
param storageAccountName string

@description('Required. The name of the queue.')
param queueName string

@description('Required. The resource ids of the topics.')
param topicIds string[]

@description('Required. The object ids of their identities, in the same order, group by group.')
param principalIds string[][]

@description('Required. Enters the names of all assignments.')
param generation int

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageAccountName
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' existing = {
  parent: account
  name: 'default'
}

resource queue 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' existing = {
  parent: queues
  name: queueName
}

resource senders 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (id, index) in topicIds: {
    name: guid(toLower(queue.id), '${id}#${generation}', storageQueueDataMessageSender)
    scope: queue
    properties: {
      principalId: flatten(principalIds)[index]
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId(
        'Microsoft.Authorization/roleDefinitions',
        storageQueueDataMessageSender
      )
    }
  }
]
