metadata name = 'Event subscription'
metadata description = 'Delivers what happens to the gateways of one API Management service to the app\'s queue, with managed identity.'

@description('Required. The name of the system topic.')
param topicName string

@description('Required. The name of the subscription.')
param name string

@description('Required. The resource id of the storage account.')
param storageAccountId string

@description('Required. The name of the queue.')
param queueName string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

// A queue needs no handshake with the app, so one deployment is enough.
resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: name
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: [
        'Microsoft.ApiManagement.GatewayTokenNearExpiry'
        'Microsoft.ApiManagement.GatewayTokenExpired'
        'Microsoft.ApiManagement.GatewayCreated'
        'Microsoft.ApiManagement.GatewayDeleted'
      ]
    }
    deliveryWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: storageAccountId
          queueName: queueName
          queueMessageTimeToLiveInSeconds: 604800
        }
      }
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}
