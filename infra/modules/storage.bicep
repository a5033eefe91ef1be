metadata name = 'Storage'
metadata description = 'The host\'s storage account: the package, the host\'s locks and keys, the app\'s record, the events. No keys.'

import { networkType, tagsType } from '../types.bicep'
import { storageBlobDataOwner, storageQueueDataContributor } from '../rights.bicep'

@description('Required. The name of the storage account.')
@minLength(3)
@maxLength(24)
param name string

@description('Required. How the account is replicated.')
param sku 'Standard_LRS' | 'Standard_ZRS' | 'Standard_GRS' | 'Standard_GZRS'

@description('Required. The name of the container that holds the published package.')
param packageContainer string

@description('Required. The name of the container that holds the app\'s own record.')
param stateContainer string

@description('Required. The name of the queue that takes the events of API Management.')
param eventQueue string

@description('Required. The name of the queue that takes requests for runs.')
param renewalsQueue string

@description('Required. Whether Event Grid delivers to the queue. Decides if its way in stays open.')
param takesEvents bool

@description('Optional. The virtual network to close the account into. Default: reachable with a role from anywhere.')
param network networkType?

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. What the names of assignments follow from, known before the deployment.')
param assignee string

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    // Event Grid comes in as a trusted service, which an account with public access disabled would not let in.
    publicNetworkAccess: (network == null || takesEvents) ? 'Enabled' : 'Disabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: network == null ? 'Allow' : 'Deny'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: packageContainer
}

resource state 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: stateContainer
}

// A service's report is written anew at every run: one that is not was left behind by a service that left the estate.
resource oldReports 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'delete-reports-of-services-that-left'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['${stateContainer}/reports/'] }
            actions: { baseBlob: { delete: { daysAfterModificationGreaterThan: 30 } } }
          }
        }
      ]
    }
  }
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource events 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = {
  parent: queues
  name: eventQueue
}

resource poisonEvents 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = {
  parent: queues
  name: '${eventQueue}-poison'
}

resource renewals 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = {
  parent: queues
  name: renewalsQueue
}

resource poisonRenewals 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = {
  parent: queues
  name: '${renewalsQueue}-poison'
}

// The host's locks, timers and keys need Owner, not Contributor: the documentation of the timer names this role.
resource blobOwner 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(toLower(account.id), assignee, storageBlobDataOwner)
  scope: account
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataOwner)
  }
}

resource queueContributor 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(toLower(account.id), assignee, storageQueueDataContributor)
  scope: account
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      storageQueueDataContributor
    )
  }
}

module blobEndpoint 'privateEndpoint.bicep' = if (network != null) {
  params: {
    name: 'pe-${name}-blob'
    service: 'blob'
    targetId: account.id
    subnetId: network!.privateEndpointSubnetId
    dnsZoneId: network.?blobDnsZoneId
    location: location
    tags: tags
  }
}

module queueEndpoint 'privateEndpoint.bicep' = if (network != null) {
  params: {
    name: 'pe-${name}-queue'
    service: 'queue'
    targetId: account.id
    subnetId: network!.privateEndpointSubnetId
    dnsZoneId: network.?queueDnsZoneId
    location: location
    tags: tags
  }
}

@description('The address of its blobs, with a closing slash.')
output blobEndpoint string = account.properties.primaryEndpoints.blob

@description('The address of its queues, with a closing slash.')
output queueEndpoint string = account.properties.primaryEndpoints.queue
