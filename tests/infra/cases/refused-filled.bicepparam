// names that do not fit where their placeholder is
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param estate = {
  defaults: { destinations: [{ kind: 'kubernetes', server: 'https://k8s' }] }
  clusters: {
    Plant: { server: 'https://plant', signIn: { vault: 'plant', secret: 'plant_token' } }
  }
  services: {
    Contoso: {
      resourceId: sample.contoso
      gateways: {
        'Edge-01': {}
        edge_02: {}
        'edge_*': {}
        'edge.03': { destinations: [{ kind: 'keyVault', vault: sample.vault }] }
        'edge.04': {
          destinations: [
            {
              kind: 'kubernetes'
              server: 'https://k8s'
              namespace: '{gateway}'
              restart: { kind: 'StatefulSet', name: '{gateway}' }
            }
          ]
        }
      }
    }
  }
}
param signIn = sample.signIn
param alerts = 'none'
