metadata name = 'Function app'
metadata description = 'The function app on Flex Consumption, its settings and how callers sign in.'

import { cloudType, inboundType, networkType, signInType, tagsType } from '../types.bicep'

@description('Required. The name of the function app.')
param name string

@description('Required. The name of its plan. A Flex Consumption plan holds one app.')
param planName string

@description('Required. What the cloud says of itself.')
param cloud cloudType

@description('Required. The settings document, as JSON.')
param document string

@description('Required. When tokens are renewed, as NCRONTAB with seconds, in UTC.')
param renewalSchedule string

@description('Optional. How many hours without a completed run are too many. Default: no alert asks.')
param noRunAfterHours int?

@description('Required. Whether each row that stays fresh is a log line of its own in every run.')
param logFreshRows bool

@description('Optional. The app registration that callers ask tokens for. Default: callers need a function key.')
param signIn signInType?

@description('Required. Whether every call needs a function key, and a bearer token is optional.')
param allowFunctionKeys bool

@description('Optional. A file of certificate authorities in the package, for a proxy that inspects. Default: none.')
param caFile string?

@description('Optional. The virtual network to join. Default: none.')
param network networkType?

@description('Optional. Who reaches the app. Default: everybody who signs in.')
param inbound inboundType?

@description('Required. The memory of an instance, in MB.')
param instanceMemoryMB 512 | 2048 | 4096

@description('Required. The most instances at once.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int

@description('Required. How many instances for HTTP always run.')
param alwaysReady int

@description('Required. The resource id of the app\'s identity.')
param identityId string

@description('Required. The client id of the app\'s identity.')
param clientId string

@description('Required. The address of the storage account\'s blobs, with a closing slash.')
param blobEndpoint string

@description('Required. The name of the queue that takes requests for runs.')
param renewalsQueue string

@description('Required. The name of the queue that takes the events of API Management.')
param eventQueue string

@description('Required. The address of the storage account\'s queues, with a closing slash.')
param queueEndpoint string

@description('Required. The name of the container that holds the published package.')
param packageContainer string

@description('Required. The name of the container that holds the app\'s own record.')
param stateContainer string

@description('Required. Where telemetry goes.')
param applicationInsightsConnectionString string

@description('Required. The region.')
param location string

@description('Required. Tags of every resource.')
param tags tagsType

@description('Required. Tags of the function app alone.')
param appTags tagsType

func withoutClosingSlash(address string) string =>
  endsWith(address, '/') ? take(address, length(address) - 1) : address

var armEndpoint = withoutClosingSlash(cloud.resourceManager)
// In Azure US Government tokens for Azure Resource Manager are asked under another name than its address.
var armAudience = cloud.name == 'AzureUSGovernment' ? withoutClosingSlash(cloud.audiences[0]) : armEndpoint
// The limits that the app keeps per process mean something only if the platform spreads calls evenly.
var callsPerInstance = 16
var restrictions = inbound.?allowedAddresses == null
  ? {}
  : {
      ipSecurityRestrictionsDefaultAction: 'Deny'
      ipSecurityRestrictions: map(inbound.?allowedAddresses ?? [], (range, index) => {
        name: 'allowed-${index}'
        action: 'Allow'
        priority: 100 + index
        ipAddress: range
      })
      // Publishing goes to another address of the app.
      scmIpSecurityRestrictionsUseMain: true
    }
var tenantId = signIn.?tenantId ?? tenant().tenantId
var apiClientId = signIn.?clientId ?? ''
var audiences = signIn.?audiences ?? ['api://${apiClientId}', apiClientId]

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, appTags)
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: network.?integrationSubnetId
    publicNetworkAccess: inbound.?privateEndpointSubnetId == null || inbound.?allowedAddresses != null
      ? 'Enabled'
      : 'Disabled'
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ...restrictions
    }
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        triggers: { http: { perInstanceConcurrency: callsPerInstance } }
        alwaysReady: alwaysReady == 0 ? [] : [{ name: 'http', instanceCount: alwaysReady }]
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobEndpoint}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
    }
  }
}

// A full replacement: every setting is here, once.
resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: {
    AzureWebJobsStorage__blobServiceUri: blobEndpoint
    AzureWebJobsStorage__queueServiceUri: queueEndpoint
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: clientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsightsConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${clientId};Authorization=AAD'
    WEBSITE_AUTH_AAD_ALLOWED_TENANTS: tenantId
    GATEWAY_TOKENS: document
    RENEWAL_SCHEDULE: renewalSchedule
    NO_RUN_AFTER_HOURS: noRunAfterHours == null ? '' : string(noRunAfterHours)
    RENEWALS_QUEUE: renewalsQueue
    EVENTS_QUEUE: eventQueue
    STATE_CONTAINER_URL: '${blobEndpoint}${stateContainer}'
    LOG_FRESH_ROWS: logFreshRows ? 'true' : 'false'
    ALLOW_FUNCTION_KEYS: allowFunctionKeys ? 'true' : 'false'
    SIGN_IN_TENANT: signIn == null ? '' : tenantId
    SIGN_IN_AUDIENCES: signIn == null ? '' : join(audiences, ',')
    SIGN_IN_APPLICATIONS: join(signIn.?allowedApplications ?? [], ',')
    SIGN_IN_ENDPOINT: withoutClosingSlash(cloud.loginEndpoint)
    AZURE_CREDENTIAL: 'managedIdentity'
    AZURE_CLIENT_ID: clientId
    ARM_ENDPOINT: armEndpoint
    ARM_SCOPE: '${armAudience}/.default'
    CA_FILE: caFile ?? ''
  }
}

resource ftpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
  // One after the other: App Service may answer a second change to a site with a conflict.
  dependsOn: [settings]
}

resource scmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
  dependsOn: [ftpPassword]
}

// No client secret: callers bring bearer tokens, nobody signs in with a browser. Made in either case: a deployment
// leaves alone what it does not name, so that taking `signIn` out would not switch sign-in off.
resource authentication 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: signIn != null
      runtimeVersion: '~1'
    }
    globalValidation: {
      requireAuthentication: !allowFunctionKeys
      unauthenticatedClientAction: allowFunctionKeys ? 'AllowAnonymous' : 'Return401'
      excludedPaths: ['/api/health']
    }
    httpSettings: {
      requireHttps: true
      routes: { apiPrefix: '/.auth' }
      forwardProxy: { convention: 'NoProxy' }
    }
    identityProviders: signIn == null
      ? {}
      : {
          azureActiveDirectory: {
            enabled: true
            registration: {
              clientId: apiClientId
              openIdIssuer: '${cloud.loginEndpoint}${tenantId}/v2.0'
            }
            validation: {
              allowedAudiences: audiences
              defaultAuthorizationPolicy: { allowedApplications: signIn.?allowedApplications ?? [] }
            }
          }
        }
    login: { tokenStore: { enabled: false } }
  }
  dependsOn: [scmPassword]
}

module endpoint 'privateEndpoint.bicep' = if (inbound.?privateEndpointSubnetId != null) {
  params: {
    name: 'pe-${name}'
    service: 'sites'
    targetId: app.id
    subnetId: inbound.?privateEndpointSubnetId ?? ''
    dnsZoneId: inbound.?dnsZoneId
    location: location
    tags: tags
  }
  dependsOn: [authentication]
}

@description('The resource id of the function app.')
output id string = app.id

@description('The address of the HTTP API.')
output endpoint string = 'https://${app.properties.defaultHostName}/api'
