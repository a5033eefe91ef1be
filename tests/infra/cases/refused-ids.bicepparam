// ids that are no ids, or ids of something else
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  services: {
    bareName: { resourceId: 'contoso-apim' }
    vaultAsService: { resourceId: sample.vault }
    trailingSlash: { resourceId: '${sample.contoso}/' }
    shortSubscription: {
      resourceId: '/subscriptions/1/resourceGroups/rg/providers/Microsoft.ApiManagement/service/contoso-apim'
    }
    contoso: {
      resourceId: sample.contoso
      gateways: {
        'edge-*': {
          destinations: [
            { kind: 'keyVault', vault: 'https://contoso.vault.azure.net' }
            { kind: 'keyVault', vault: '${sample.vault}/secrets/token' }
            { kind: 'kubernetes', cluster: 'edge-aks' }
            { kind: 'kubernetes', server: 'https://k8s', signIn: { vault: sample.contoso, secret: 'sa' } }
          ]
        }
      }
    }
  }
}
param signIn = {
  clientId: 'gateway-tokens'
  tenantId: 'contoso.onmicrosoft.com'
  allowedApplications: ['portal']
}
param network = {
  integrationSubnetId: '${sample.one}/rg-net/providers/Microsoft.Network/virtualNetworks/hub'
  privateEndpointSubnetId: 'endpoints'
  blobDnsZoneId: 'privatelink.blob.core.windows.net'
}
param alerts = 'none'
param inbound = {
  privateEndpointSubnetId: 'endpoints'
  allowedAddresses: ['203.0.113.7', '203.0.113.0/24', 'office']
}
