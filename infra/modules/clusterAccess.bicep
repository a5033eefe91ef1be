metadata name = 'Access to AKS clusters'
metadata description = 'Lets the app ask the clusters of one resource group for their address. What it may do inside is for kubernetes-rbac.yaml.'

import { clusterReader } from '../rights.bicep'

@description('Required. The names of the clusters.')
param clusterNames string[]

@description('Required. The object id of the app\'s identity.')
param principalId string

@description('Required. What the names of assignments follow from, known before the deployment.')
param assignee string

@description('Optional. The resource id of a role that exists already. Default: a custom role in this group.')
param roleId string?

resource clusters 'Microsoft.ContainerService/managedClusters@2026-02-01' existing = [
  for name in clusterNames: {
    name: name
  }
]

// A custom role cannot be assignable at a single resource: it may be assigned in this group, and is at the resource.
resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (roleId == null) {
  name: guid(toLower(resourceGroup().id), clusterReader.label)
  properties: {
    roleName: '${clusterReader.title} (${uniqueString(toLower(resourceGroup().id))})'
    description: clusterReader.purpose
    type: 'CustomRole'
    permissions: [
      {
        actions: clusterReader.actions
        dataActions: clusterReader.dataActions
      }
    ]
    assignableScopes: [resourceGroup().id]
  }
}

// Where Entra is off, the answer to this call is a certificate of a cluster administrator. Such a cluster gets no
// assignment: the deployment stops here, before it is made. Entra cannot be switched off afterwards.
resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in clusterNames: {
    name: guid(toLower(clusters[index].id), assignee, toLower(roleId ?? clusterReader.label))
    scope: clusters[index]
    properties: {
      principalId: clusters[index].properties.?aadProfile == null
        ? fail('The cluster ${name} does not use Entra. Give its `server` and `signIn` in place of `cluster`.')
        : principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: roleId ?? role.id
    }
  }
]
