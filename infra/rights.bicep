metadata name = 'Rights'
metadata description = 'What the app may do: its custom roles, and the ids of the roles of Azure\'s own that it gets.'

@export()
@sealed()
@description('A custom role. It holds exactly what the code calls.')
type roleType = {
  @description('Required. What names of resources follow from. It never changes.')
  label: string

  @description('Required. The role\'s name in the portal.')
  title: string

  @description('Required. What the role is for.')
  purpose: string

  @description('Required. Operations on resources.')
  actions: string[]

  @description('Required. Operations on data.')
  dataActions: string[]
}

@export()
@description('Finds gateways and issues their tokens. Reads no key.')
var issuer roleType = {
  label: 'gateway-token-issuer'
  title: 'Gateway token issuer'
  purpose: 'Reads self-hosted gateways and generates their tokens. No keys.'
  actions: [
    'Microsoft.ApiManagement/service/gateways/read'
    'Microsoft.ApiManagement/service/gateways/generateToken/action'
  ]
  dataActions: []
}

@export()
@description('Regenerates gateways\' keys. Reads none.')
var keyRegenerator roleType = {
  label: 'gateway-key-regenerator'
  title: 'Gateway key regenerator'
  purpose: 'Regenerates the keys of self-hosted gateways. Reads none.'
  actions: ['Microsoft.ApiManagement/service/gateways/regenerateKey/action']
  dataActions: []
}

// Narrower than Key Vault Secrets Officer, which may also list, delete, purge, back up and restore.
@export()
@description('Writes and reads secrets by name.')
var secretWriter roleType = {
  label: 'gateway-token-secret-writer'
  title: 'Gateway token secret writer'
  purpose: 'Sets and reads secrets by name, and changes their tags. Lists and deletes none.'
  actions: []
  dataActions: [
    'Microsoft.KeyVault/vaults/secrets/setSecret/action'
    'Microsoft.KeyVault/vaults/secrets/getSecret/action'
    'Microsoft.KeyVault/vaults/secrets/update/action'
  ]
}

@export()
@description('Asks an AKS cluster for its address and certificate authority.')
var clusterReader roleType = {
  label: 'gateway-token-cluster-reader'
  title: 'Gateway token cluster reader'
  purpose: 'Asks a cluster that uses Entra for its address and certificate authority. Opens nothing inside.'
  actions: ['Microsoft.ContainerService/managedClusters/listClusterUserCredential/action']
  dataActions: []
}

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
@export()
@description('The role that the host\'s locks, timers and keys need.')
var storageBlobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'

@export()
@description('The role that the host\'s queues need.')
var storageQueueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'

@export()
@description('The role by which Event Grid adds messages to a queue.')
var storageQueueDataMessageSender = 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'

@export()
@description('The role by which telemetry is sent without a key.')
var monitoringMetricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

@export()
@description('The role that reads the value of a secret.')
var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'
