metadata name = 'Access to API Management'
metadata description = 'What the app may do with the API Management services of one resource group.'

@description('Required. The names of the services.')
param serviceNames string[]

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Optional. The resource id of an existing role that may read gateways and generate tokens. Default: a new one.')
param issuerRoleId string?

@description('Required. Whether the app may regenerate gateway keys, which ends every token of that key at once.')
param mayRegenerateKeys bool

@description('Optional. The resource id of an existing role that may regenerate gateway keys. Default: a new one.')
param keyRegeneratorRoleId string?

resource services 'Microsoft.ApiManagement/service@2024-05-01' existing = [for name in serviceNames: {
  name: name
}]

// A custom role cannot be assignable at a single resource: it may be assigned in this group, and is at the service.
resource issuer 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (issuerRoleId == null) {
  name: guid(toLower(resourceGroup().id), 'gateway-token-issuer')
  properties: {
    roleName: 'Gateway token issuer (${uniqueString(toLower(resourceGroup().id))})'
    description: 'Reads self-hosted gateways and generates their tokens. No keys.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.ApiManagement/service/gateways/read'
          'Microsoft.ApiManagement/service/gateways/generateToken/action'
        ]
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

resource keyRegenerator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayRegenerateKeys && keyRegeneratorRoleId == null) {
  name: guid(toLower(resourceGroup().id), 'gateway-key-regenerator')
  properties: {
    roleName: 'Gateway key regenerator (${uniqueString(toLower(resourceGroup().id))})'
    description: 'Regenerates the keys of self-hosted gateways. Reads none.'
    type: 'CustomRole'
    permissions: [
      {
        actions: ['Microsoft.ApiManagement/service/gateways/regenerateKey/action']
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// Azure does not let an assignment change its role, so a name follows from the role as well.
resource issuers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in serviceNames: {
  name: guid(services[index].id, principalId, issuerRoleId ?? 'gateway-token-issuer')
  scope: services[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: issuerRoleId ?? issuer.id
  }
}]

resource keyRegenerators 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in serviceNames: if (mayRegenerateKeys) {
  name: guid(services[index].id, principalId, keyRegeneratorRoleId ?? 'gateway-key-regenerator')
  scope: services[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: keyRegeneratorRoleId ?? keyRegenerator.id
  }
}]
