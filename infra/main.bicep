metadata name = 'Gateway tokens'
metadata description = 'The function app, its rights on every API Management service and destination of the estate, its events and alerts.'

targetScope = 'subscription'

import { apiManagementIds, documentText, estateType, subscriptionsOf } from 'estate.bicep'
import { accessFaults, signInFaults } from 'faults/callers.bicep'
import { estateFaults } from 'faults/estate.bicep'
import { alertFaults, inboundFaults, nameFaults, networkFaults, roleFaults, scaleFaults, topicFaults } from 'faults/parameters.bicep'
import { optionalIdFaults, refusalOf } from 'faults/texts.bicep'
import { existingRolesType, inboundType, networkType, signInType, tagsType, topicNamesType } from 'types.bicep'

@description('Required. The API Management services, how their gateways are renewed, and who may do what.')
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

@description('Optional. When tokens are renewed, as NCRONTAB with seconds, in UTC. Default: hourly.')
param renewalSchedule string = '0 0 * * * *'

@description('Optional. The memory of an instance, in MB.')
param instanceMemoryMB 512 | 2048 | 4096 = 2048

@description('Optional. The most instances at once. The platform accepts no fewer than 40.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Optional. How many instances for HTTP always run, so that calls meet no cold start. They cost money around the clock.')
@minValue(0)
@maxValue(1000)
param alwaysReady int = 0

@description('Optional. How the storage account is replicated.')
param storageSku 'Standard_LRS' | 'Standard_ZRS' | 'Standard_GRS' | 'Standard_GZRS' = 'Standard_LRS'

@description('Conditional. The app registration that callers ask tokens for. Required unless function keys are allowed.')
param signIn signInType?

@description('Optional. Demand a function key of every call, and let a key alone be the caller `functionKey`. Default: false.')
param allowFunctionKeys bool = false

@description('Optional. An existing virtual network: the app joins it, and its storage is closed into it. Default: none.')
param network networkType?

@description('Optional. Who reaches the app\'s own address. Default: everybody who signs in.')
param inbound inboundType?

@description('Optional. A file of certificate authorities in the package, for a proxy that inspects. Default: none.')
param caFile string?

@description('Optional. The resource id of an existing Log Analytics workspace. Default: a new one.')
param workspaceId string?

@description('Optional. How many days a new workspace keeps logs.')
@minValue(30)
@maxValue(730)
param logRetentionInDays int = 30

@description('Optional. The name of a vault to make in the same resource group, for all destinations that name none. Default: none is made.')
@minLength(3)
@maxLength(24)
param newVaultName string?

@description('Optional. Whether API Management\'s own gateway events are delivered to the app.')
param deliverEvents bool = true

@description('Optional. System topics that exist already, by the lower-case name of the API Management service.')
param existingEventTopics topicNamesType = {}

@description('Optional. Grant the regeneration of all gateways\' keys, which `revoke` needs. Default: only where a rule has rotateKeys.')
param allowRevoke bool = false

@description('Optional. Roles that exist already. Default: custom roles are defined beside what they open.')
param existingRoles existingRolesType = {}

@description('Optional. Where the rights on the estate are granted: here, or elsewhere by a deployment of grants.bicep.')
param grants 'here' | 'elsewhere' = 'here'

@description('Optional. Enters the names of all assignments. Raise it when Azure answers RoleAssignmentUpdateNotPermitted.')
@minValue(1)
param generation int = 1

@description('Conditional. A mail address that alerts go to. Required without actionGroupId, unless alerts is none.')
param alertEmail string?

@description('Conditional. The resource id of an action group that alerts go to. Required without alertEmail, unless alerts is none.')
param actionGroupId string?

@description('Optional. Whether alert rules are made. Without them no mail says that a token is about to expire.')
param alerts 'all' | 'none' = 'all'

@description('Optional. How many hours without a completed run raise an alert. The app refuses a renewalSchedule that pauses for longer.')
@minValue(1)
@maxValue(48)
param noRunAfterHours int = 3

@description('Optional. Where your people find the runbook. Alerts name it.')
param runbook string = 'docs/runbook.md'

@description('Optional. Whether a workbook is made: the estate on one page.')
param workbook bool = true

@description('Optional. Whether each row that stays fresh is a log line of its own in every run. Default: summed per service.')
param logFreshRows bool = false

@description('Optional. How many refused calls in fifteen minutes raise an alert.')
@minValue(1)
param refusedCallsBurst int = 20

var packageContainer = 'app-package'
var stateContainer = 'gateway-tokens'
var eventQueue = 'gateway-events'
var renewalsQueue = 'gateway-renewals'
var suffix = uniqueString(subscription().id, resourceGroupName, name)
// All faults at once. They are looked for before anything is made, since the name of the group depends on the answer.
var faults = [
  ...nameFaults(name, resourceGroupName, newVaultName)
  ...estateFaults(estate, newVaultId)
  ...signInFaults(signIn, allowFunctionKeys)
  ...accessFaults(estate, signIn, allowFunctionKeys)
  ...networkFaults(network)
  ...inboundFaults(inbound)
  ...scaleFaults(renewalSchedule, alwaysReady, maximumInstanceCount)
  ...roleFaults(existingRoles)
  ...topicFaults(
    existingEventTopics,
    map(items(estate.services), service => toLower(service.value.resourceId))
  )
  ...optionalIdFaults(
    'workspaceId',
    workspaceId,
    'Microsoft.OperationalInsights/workspaces',
    'a Log Analytics workspace'
  )
  ...alertFaults(alerts, alertEmail, actionGroupId)
]
var soundEstate = empty(faults) ? estate : fail(refusalOf(faults))
// Names and ids are composed here, never read from outputs: What-If shows only what follows from values known beforehand.
var identityName = 'id-${name}-${suffix}'
var functionAppName = 'func-${name}-${suffix}'
var storageName = 'st${take(replace(toLower(name), '-', ''), 9)}${suffix}'
var assignee = '${toLower(identityReference.id)}#${generation}'
var newVaultId = newVaultName == null
  ? null
  : '${subscription().id}/resourceGroups/${resourceGroupName}/providers/Microsoft.KeyVault/vaults/${newVaultName}'
// Stands for the end of a vault's address in the settings document until the cloud is known.
var vaultSuffix = '.vault-of-the-cloud'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: empty(faults) ? resourceGroupName : fail(refusalOf(faults))
  location: location
  tags: tags
}

resource identityReference 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  scope: group
  name: identityName
}

module identity 'modules/identity.bicep' = {
  scope: group
  params: {
    name: identityName
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
    assignee: assignee
    location: location
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  scope: group
  params: {
    name: storageName
    sku: storageSku
    packageContainer: packageContainer
    stateContainer: stateContainer
    eventQueue: eventQueue
    renewalsQueue: renewalsQueue
    takesEvents: deliverEvents
    network: network
    principalId: identity.outputs.principalId
    assignee: assignee
    location: location
    tags: tags
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

module access 'modules/estateAccess.bicep' = if (grants == 'here') {
  scope: group
  params: {
    estate: soundEstate
    principalId: identity.outputs.principalId
    assignee: assignee
    newVaultId: newVaultId
    allowRevoke: allowRevoke
    existingRoles: existingRoles
  }
  dependsOn: [newVault]
}

module functionApp 'modules/functionApp.bicep' = {
  scope: group
  params: {
    name: functionAppName
    planName: 'plan-${name}-${suffix}'
    cloud: {
      name: environment().name
      resourceManager: environment().resourceManager
      audiences: environment().authentication.audiences
      loginEndpoint: environment().authentication.loginEndpoint
    }
    document: replace(
      documentText(soundEstate, newVaultId, vaultSuffix),
      vaultSuffix,
      environment().suffixes.keyvaultDns
    )
    renewalSchedule: renewalSchedule
    noRunAfterHours: alerts == 'all' ? noRunAfterHours : null
    logFreshRows: logFreshRows
    signIn: signIn
    allowFunctionKeys: allowFunctionKeys
    caFile: caFile
    network: network
    inbound: inbound
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReady: alwaysReady
    identityId: identityReference.id
    clientId: identity.outputs.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    renewalsQueue: renewalsQueue
    eventQueue: eventQueue
    packageContainer: packageContainer
    stateContainer: stateContainer
    applicationInsightsConnectionString: monitoring.outputs.connectionString
    location: location
    tags: tags
    // `azd deploy` finds the app by this tag.
    appTags: { 'azd-service-name': 'app' }
  }
  // Rights first: when the estate changes, the app should not read of a vault before it may write there.
  dependsOn: [access]
}

module events 'modules/events.bicep' = if (deliverEvents) {
  scope: group
  params: {
    services: apiManagementIds(soundEstate)
    existingTopics: existingEventTopics
    subscriptionName: '${name}-${suffix}'
    storageAccountName: storageName
    queueName: eventQueue
    generation: generation
    tags: tags
  }
  dependsOn: [storage]
}

module alertRules 'modules/alerts.bicep' = if (alerts == 'all') {
  scope: group
  params: {
    email: alertEmail
    actionGroupId: actionGroupId
    workspaceId: monitoring.outputs.workspaceId
    componentId: monitoring.outputs.componentId
    functionAppId: functionApp.outputs.id
    subscriptions: subscriptionsOf(soundEstate)
    noRunAfterHours: noRunAfterHours
    refusedCalls: refusedCallsBurst
    runbook: runbook
    namePrefix: name
    location: location
    tags: tags
  }
}

module workbookPage 'modules/workbook.bicep' = if (workbook) {
  scope: group
  params: {
    workspaceId: monitoring.outputs.workspaceId
    componentId: monitoring.outputs.componentId
    name: guid(suffix, 'workbook')
    displayName: name
    noRunAfterHours: noRunAfterHours
    runbook: runbook
    location: location
    tags: tags
  }
}

@description('The name of the function app, for `func azure functionapp publish`.')
output functionAppName string = functionAppName

@description('The resource id of the function app.')
output functionAppId string = functionApp.outputs.id

@description('The address of the HTTP API.')
output endpoint string = functionApp.outputs.endpoint

@description('The name of the resource group.')
output resourceGroupName string = group.name

@description('The resource id of the app\'s identity.')
output identityId string = identityReference.id

@description('The object id of the app\'s identity, for roles that others grant and for kubernetes-rbac.yaml.')
output identityPrincipalId string = identity.outputs.principalId

@description('The client id of the app\'s identity.')
output identityClientId string = identity.outputs.clientId

@description('The name of the storage account.')
output storageAccountName string = storageName

@description('The resource id of the Log Analytics workspace.')
output workspaceId string = monitoring.outputs.workspaceId

@description('The address of the new vault, if one was asked for.')
output newVaultAddress string? = newVault.?outputs.address
