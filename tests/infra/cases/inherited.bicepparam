// defaults of the estate and of services, named clusters, and names that follow from service and gateway
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  defaults: {
    lifetime: 'P14D'
    keyType: null
    rotateKeys: { every: 'P120D' }
    windows: [
      { days: 'Mon-Thu', from: '22:00', to: '05:00', timeZone: 'Europe/Berlin' }
      { days: null, from: '01:00', to: '03:00' }
    ]
    destinations: [
      {
        kind: 'keyVault'
        vault: '${sample.one}/rg-{service}/providers/Microsoft.KeyVault/vaults/kv-{service}'
      }
    ]
  }
  freeze: [
    { from: '2026-12-18T17:00:00Z', to: '2027-01-04T06:00:00Z', reason: 'Year end' }
  ]
  clusters: {
    'plant-contoso': {
      server: 'https://{gateway}.plant.contoso.example:6443'
      certificateAuthority: null
      signIn: {
        vault: '${sample.one}/rg-vaults/providers/Microsoft.KeyVault/vaults/kv-{service}-clusters'
        secret: '{service}-plant'
      }
    }
  }
  services: {
    contoso: {
      resourceId: sample.contoso
      defaults: { keyType: 'secondary' }
      gateways: {
        '*': { pause: { until: '2026-12-31T00:00:00Z', reason: 'The plant moves' } }
        'edge-01': {
          destinations: [
            {
              kind: 'keyVault'
              vault: '${sample.one}/rg-vaults/providers/Microsoft.KeyVault/vaults/kv-{gateway}'
            }
          ]
        }
        'plant-*': {
          destinations: [
            { kind: 'kubernetes', cluster: 'plant-{service}', namespace: '{service}', restart: { name: '{gateway}' } }
          ]
        }
      }
    }
    fabrikam: {
      resourceId: '${sample.two}/rg-fabrikam/providers/Microsoft.ApiManagement/service/fabrikam-apim'
      defaults: {
        renewBefore: 'P4D'
        destinations: [
          {
            kind: 'kubernetes'
            cluster: '${sample.two}/rg-edge/providers/Microsoft.ContainerService/managedClusters/aks-{service}'
            secret: '{service}.{gateway}'
          }
        ]
      }
      gateways: {
        '*': {}
      }
    }
    idle: {
      resourceId: '${sample.two}/rg-fabrikam/providers/Microsoft.ApiManagement/service/idle-apim'
      defaults: { renew: false }
      gateways: { '*': {} }
    }
  }
}
param signIn = sample.signIn
param alerts = 'none'
param deliverEvents = false
