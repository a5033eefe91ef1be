metadata name = 'Event subscriptions'
metadata description = 'Delivers what happens to the gateways of the API Management services of one resource group to the app\'s queue.'

@description('Required. The names of the system topics.')
param topicNames string[]

@description('Required. The name of the subscriptions.')
param name string

@description('Required. The resource id of the storage account.')
param storageAccountId string

@description('Required. The name of the queue.')
param queueName string

resource topics 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = [
  for topic in topicNames: {
    name: topic
  }
]

// A queue needs no handshake with the app, so one deployment is enough.
resource subscriptions 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = [
  for (topic, index) in topicNames: {
    parent: topics[index]
    name: name
    properties: {
      eventDeliverySchema: 'EventGridSchema'
      filter: {
        // By subject, since the names of these events are published in more than one spelling. The app ignores the others.
        subjectBeginsWith: '/gateways/'
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
]
