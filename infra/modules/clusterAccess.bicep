metadata name = 'Access to AKS clusters'
metadata description = 'Lets the app ask the clusters of one resource group for their address. What it may do inside is for kubernetes-rbac.yaml.'

@description('Required. The names of the clusters.')
param clusterNames string[]

@description('Required. The object id of the app\'s identity.')
param principalId string

var clusterUser = '4abbcc35-e782-43d8-92c5-2d3f1bd2253f'

resource clusters 'Microsoft.ContainerService/managedClusters@2025-05-01' existing = [for name in clusterNames: {
  name: name
}]

resource users 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, index) in clusterNames: {
  name: guid(clusters[index].id, principalId, clusterUser)
  scope: clusters[index]
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', clusterUser)
  }
}]
