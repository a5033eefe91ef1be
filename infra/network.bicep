metadata name = 'Network'
metadata description = 'The type of the network parameter: existing parts of a virtual network, referenced and never created.'

@export()
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
