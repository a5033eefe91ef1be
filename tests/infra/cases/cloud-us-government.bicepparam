// the function app in Azure US Government: what is known only in Azure is given here
using '../../../infra/modules/functionApp.bicep'
import * as sample from 'sample.bicep'
import { documentText } from '../../../infra/estate.bicep'

param name = 'func-gateway-tokens'
param planName = 'plan-gateway-tokens'
param cloud = {
  name: 'AzureUSGovernment'
  resourceManager: 'https://management.usgovcloudapi.net/'
  audiences: ['https://management.core.usgovcloudapi.net', 'https://management.usgovcloudapi.net/']
  loginEndpoint: 'https://login.microsoftonline.us/'
}
param document = documentText(sample.estate, null, '.vault.usgovcloudapi.net')
param renewalSchedule = '0 0 * * * *'

param signIn = sample.signIn
param logFreshRows = false
param allowFunctionKeys = false
param instanceMemoryMB = 2048
param maximumInstanceCount = 40
param alwaysReady = 0
param identityId = '${sample.one}/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-gateway-tokens'
param clientId = '55555555-5555-5555-5555-555555555555'
param blobEndpoint = 'https://stgatewaytokens.blob.example/'
param queueEndpoint = 'https://stgatewaytokens.queue.example/'
param renewalsQueue = 'gateway-renewals'
param eventQueue = 'gateway-events'
param packageContainer = 'app-package'
param stateContainer = 'gateway-tokens'
param applicationInsightsConnectionString = 'InstrumentationKey=0'
param location = 'westeurope'
param tags = {}
param appTags = { 'azd-service-name': 'app' }
