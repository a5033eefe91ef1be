metadata name = 'Gateway tokens'
metadata description = 'The function app, its rights on every API Management service and destination of the estate, its events and alerts.'

targetScope = 'subscription'

import { estateType, settingsDocument, apiManagementIds, vaultIds, clusterIds, signInSecretIds, resourceGroupsOf, namesIn, nameOf, secretsIn } from 'estate.bicep'
import { existingRolesType, networkType, signInType, tagsType, topicNamesType } from 'types.bicep'

@description('Required. The API Management services, how their gateways are kept, and who may do what.')
param estate estateType

@description('Required. The region of the resource group and of all that is made in it.')
param location string

@description('Optional. The name of the resource group, made if it does not exist.')
@minLength(1)
@maxLength(90)
param resourceGroupName string = 'rg-gateway-tokens'

@description('Optional. What the resources\' names hold. Change it to run a second copy beside the first.')
@minLength(3)
@maxLength(20)
param name string = 'gateway-tokens'

@description('Optional. Tags of every resource.')
param tags tagsType = {}

@description('Optional. When the sweep runs, as NCRONTAB with seconds, in UTC. Default: hourly.')
param renewalSchedule string = '0 0 * * * *'

@minValue(1)
@maxValue(48)
@description('Optional. After how many hours without a completed run the alert fires. The schedule may not pause for longer.')
param noRunAfterHours int = 3

@description('Optional. The memory of an instance, in MB.')
param instanceMemoryMB 512 | 2048 | 4096 = 2048

@description('Optional. The most instances at once. The platform accepts no fewer than 40.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Optional. How the storage account is replicated.')
param storageSku 'Standard_LRS' | 'Standard_ZRS' | 'Standard_GRS' | 'Standard_GZRS' = 'Standard_LRS'

@description('Conditional. The app registration that callers ask tokens for. Required unless function keys are allowed.')
param signIn signInType?

@description('Optional. Demand a function key of every call, and let a key alone be the caller `functionKey`. Default: false.')
param allowFunctionKeys bool = false

@description('Optional. An existing virtual network: the app joins it, and its storage is closed into it. Default: none.')
param network networkType?

@description('Optional. A file of certificate authorities in the package, for a proxy that inspects. Default: none.')
param caFile string?

@description('Optional. The resource id of an existing Log Analytics workspace. Default: a new one.')
param workspaceId string?

@description('Optional. How many days a new workspace keeps logs.')
@minValue(30)
@maxValue(730)
param logRetentionInDays int = 30

@description('Optional. The name of a vault to make, in the same resource group. Default: none is made.')
@minLength(3)
@maxLength(24)
param newVaultName string?

@description('Optional. Whether API Management\'s own gateway events are delivered to the app.')
param deliverEvents bool = true

@description('Optional. System topics that exist already, by the lower-case name of the API Management service.')
param existingEventTopics topicNamesType = {}

@description('Optional. Whether the app may regenerate gateway keys. That ends every token of a key at once.')
param mayRegenerateKeys bool = false

@description('Optional. Roles that exist already. Default: custom roles are defined beside what they open.')
param existingRoles existingRolesType = {}

@description('Optional. The resource id of the action group that alerts go to. Default: no alerts.')
param actionGroupId string?

@description('Optional. How long without a completed sweep raises an alert: three intervals of the schedule.')
param sweepSilence 'PT15M' | 'PT30M' | 'PT45M' | 'PT1H' | 'PT2H' | 'PT3H' | 'PT4H' | 'PT5H' | 'PT6H' | 'P1D' | 'P2D' = 'PT3H'

@description('Optional. How many refused calls in fifteen minutes raise an alert.')
@minValue(1)
param refusedCallsBurst int = 20

var packageContainer = 'app-package'
var stateContainer = 'gateway-tokens'
var eventQueue = 'gateway-events'
var suffix = uniqueString(subscription().id, resourceGroupName, name)
var services = apiManagementIds(estate)
var vaults = vaultIds(estate)
var clusters = clusterIds(estate)
var signInSecrets = signInSecretIds(estate)

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: resourceGroupName
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  scope: group
  params: {
    name: 'id-${name}-${suffix}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  params: {
    componentName: 'appi-${name}-${suffix}'
    workspaceName: 'log-${name}-${suffix}'
    existingWorkspaceId: workspaceId
    retentionInDays: logRetentionInDays
    principalId: identity.outputs.principalId
    location: location
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  params: {
    name: 'st${take(replace(toLower(name), '-', ''), 9)}${suffix}'
    sku: storageSku
    packageContainer: packageContainer
    stateContainer: stateContainer
    eventQueue: eventQueue
    takesEvents: deliverEvents
    network: network
    principalId: identity.outputs.principalId
    location: location
    tags: tags
  }
}

module functionApp 'modules/functionApp.bicep' = {
  scope: group
  params: {
    name: 'func-${name}-${suffix}'
    planName: 'plan-${name}-${suffix}'
    document: string(settingsDocument(estate, environment().suffixes.keyvaultDns))
    renewalSchedule: renewalSchedule
    noRunAfterHours: noRunAfterHours
    signIn: signIn
    allowFunctionKeys: allowFunctionKeys
    caFile: caFile
    network: network
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    packageContainer: packageContainer
    stateContainer: stateContainer
    applicationInsightsConnectionString: monitoring.outputs.connectionString
    location: location
    tags: tags
    // `azd deploy` finds the app by this tag.
    appTags: { 'azd-service-name': 'app' }
  }
}

module newVault 'modules/vault.bicep' = if (newVaultName != null) {
  scope: group
  params: {
    name: newVaultName!
    location: location
    tags: tags
  }
}

module apiManagementAccess 'modules/apiManagementAccess.bicep' = [for place in resourceGroupsOf(services): {
  scope: resourceGroup(split(place, '/')[2], split(place, '/')[4])
  params: {
    serviceNames: namesIn(place, services)
    principalId: identity.outputs.principalId
    issuerRoleId: existingRoles.?issuer
    mayRegenerateKeys: mayRegenerateKeys
    keyRegeneratorRoleId: existingRoles.?keyRegenerator
  }
}]

module vaultAccess 'modules/vaultAccess.bicep' = [for place in resourceGroupsOf(vaults): {
  scope: resourceGroup(split(place, '/')[2], split(place, '/')[4])
  params: {
    vaultNames: namesIn(place, vaults)
    principalId: identity.outputs.principalId
    writerRoleId: existingRoles.?secretWriter
  }
  dependsOn: [newVault]
}]

module secretAccess 'modules/secretAccess.bicep' = [for place in resourceGroupsOf(signInSecrets): {
  scope: resourceGroup(split(place, '/')[2], split(place, '/')[4])
  params: {
    held: secretsIn(place, signInSecrets)
    principalId: identity.outputs.principalId
  }
}]

module clusterAccess 'modules/clusterAccess.bicep' = [for place in resourceGroupsOf(clusters): {
  scope: resourceGroup(split(place, '/')[2], split(place, '/')[4])
  params: {
    clusterNames: namesIn(place, clusters)
    principalId: identity.outputs.principalId
  }
}]

resource eventSources 'Microsoft.ApiManagement/service@2024-05-01' existing = [for id in services: {
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  name: nameOf(id)
}]

module eventTopics 'modules/eventTopic.bicep' = [for (id, index) in services: if (deliverEvents) {
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    serviceName: nameOf(id)
    location: eventSources[index].location
    existingName: existingEventTopics[?nameOf(id)]
    tags: tags
  }
}]

module eventSenders 'modules/eventSender.bicep' = [for (id, index) in services: if (deliverEvents) {
  scope: group
  params: {
    storageAccountName: storage.outputs.name
    queueName: eventQueue
    principalId: eventTopics[index]!.outputs.principalId
  }
}]

module eventSubscriptions 'modules/eventSubscription.bicep' = [for (id, index) in services: if (deliverEvents) {
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    topicName: eventTopics[index]!.outputs.name
    name: '${name}-${suffix}'
    storageAccountId: eventSenders[index]!.outputs.storageAccountId
    queueName: eventQueue
  }
}]

module alerts 'modules/alerts.bicep' = if (actionGroupId != null) {
  scope: group
  params: {
    actionGroupId: actionGroupId!
    workspaceId: monitoring.outputs.workspaceId
    componentId: monitoring.outputs.componentId
    sweepSilence: sweepSilence
    refusedCalls: refusedCallsBurst
    namePrefix: name
    location: location
    tags: tags
  }
}

@description('The name of the function app, for `func azure functionapp publish`.')
output functionAppName string = functionApp.outputs.name

@description('The resource id of the function app.')
output functionAppId string = functionApp.outputs.id

@description('The address of the HTTP API.')
output endpoint string = functionApp.outputs.endpoint

@description('The name of the resource group.')
output resourceGroupName string = group.name

@description('The resource id of the app\'s identity.')
output identityId string = identity.outputs.id

@description('The object id of the app\'s identity, for roles that others grant and for kubernetes-rbac.yaml.')
output identityPrincipalId string = identity.outputs.principalId

@description('The client id of the app\'s identity.')
output identityClientId string = identity.outputs.clientId

@description('The name of the storage account.')
output storageAccountName string = storage.outputs.name

@description('The resource id of the Log Analytics workspace.')
output workspaceId string = monitoring.outputs.workspaceId

@description('The address of the new vault, if one was asked for.')
output newVaultAddress string? = newVault.?outputs.address
