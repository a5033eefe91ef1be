// pairs of which one is needed, or that exclude each other
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param alerts = 'none'
param alertEmail = 'platform-team'
param estate = {
  services: {
    contoso: {
      resourceId: sample.contoso
      gateways: {
        edge: {
          destinations: [
            { kind: 'kubernetes' }
            {
              kind: 'kubernetes'
              server: 'http://k8s'
              cluster: '${sample.two}/rg-edge/providers/Microsoft.ContainerService/managedClusters/edge-aks'
            }
            {
              kind: 'kubernetes'
              cluster: '${sample.two}/rg-edge/providers/Microsoft.ContainerService/managedClusters/edge-aks'
              signIn: { vault: sample.vault, secret: 'sa' }
            }
            { kind: 'keyVault' }
          ]
        }
      }
    }
  }
  access: [
    { caller: { functionKey: true }, gateways: ['*/*'], allow: ['read'] }
  ]
}
param network = {
  integrationSubnetId: '${sample.one}/rg-net/providers/Microsoft.Network/virtualNetworks/hub/subnets/one'
  privateEndpointSubnetId: '${sample.one}/rg-net/providers/Microsoft.Network/virtualNetworks/hub/subnets/one'
}
param inbound = {
  dnsZoneId: '${sample.one}/rg-net/providers/Microsoft.Network/privateDnsZones/privatelink.azurewebsites.net'
}
param alwaysReady = 41
param renewalSchedule = 'hourly'
