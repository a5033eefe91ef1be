metadata name = 'Types'
metadata description = 'Types of parameters that are not about the estate.'

@export()
@description('Tags of resources.')
type tagsType = {
  @description('Required. The value of a tag.')
  *: string
}

@export()
@sealed()
@description('Where the app joins an existing virtual network, and where its storage is reached.')
type networkType = {
  @description('Required. The resource id of a subnet delegated to Microsoft.App/environments, for the app.')
  integrationSubnetId: string

  @description('Required. The resource id of a subnet for the private endpoints of the storage account.')
  privateEndpointSubnetId: string

  @description('Optional. The resource id of the private DNS zone of blobs. Default: a policy registers the name.')
  blobDnsZoneId: string?

  @description('Optional. The resource id of the private DNS zone of queues. Default: a policy registers the name.')
  queueDnsZoneId: string?
}

@export()
@sealed()
@description('Who reaches the app\'s own address: by a private endpoint, by address ranges, or both.')
type inboundType = {
  @description('Conditional. The resource id of a subnet for a private endpoint of the app. Without allowedAddresses its public address is closed.')
  privateEndpointSubnetId: string?

  @description('Optional. The resource id of the private DNS zone of function apps. Default: a policy registers the name.')
  dnsZoneId: string?

  @description('Conditional. The address ranges (CIDR) that may call and publish from outside. All others get 403.')
  allowedAddresses: string[]?
}

@export()
@sealed()
@description('The app registration that callers ask tokens for.')
type signInType = {
  @description('Required. The client id of the app registration.')
  clientId: string

  @description('Optional. The Entra tenant. Default: the tenant of the deployment.')
  tenantId: string?

  @description('Optional. Accepted audiences. Default: api://<clientId> and the client id itself.')
  audiences: string[]?

  @description('Required. Client ids of the only applications that may call, one at least.')
  allowedApplications: string[]
}

@export()
@sealed()
@description('Resource ids of roles that exist already, for a deployer who may assign roles and not define them.')
type existingRolesType = {
  @description('Optional. May read gateways and generate their tokens.')
  issuer: string?

  @description('Optional. May regenerate gateways\' keys.')
  keyRegenerator: string?

  @description('Optional. May set and read secrets, such as Key Vault Secrets Officer.')
  secretWriter: string?

  @description('Optional. May ask AKS clusters for their address.')
  clusterReader: string?
}

@export()
@description('System topics that exist already.')
type topicNamesType = {
  @description('Required. The name of a system topic.')
  *: string
}

@export()
@sealed()
@description('What the cloud of a deployment says of itself: a part of what environment() answers.')
type cloudType = {
  @description('Required. The name of the cloud.')
  name: string

  @description('Required. The address of Azure Resource Manager.')
  resourceManager: string

  @description('Required. The audiences of Azure Resource Manager.')
  audiences: string[]

  @description('Required. The address where Entra signs in.')
  loginEndpoint: string
}
