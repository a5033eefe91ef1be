// names that Azure or a cluster refuses
using '../../../infra/main.bicep'
import * as sample from 'sample.bicep'

param location = 'westeurope'
param resourceGroupName = 'rg-gateway-tokens.'
param name = '---'
param newVaultName = 'kv--contoso'
param estate = {
  defaults: { destinations: [{ kind: 'keyVault', vault: '{service}' }] }
  services: {
    'contoso apim': {
      resourceId: sample.contoso
      gateways: {
        'edge/01': { renew: false }
        'edge-*': {
          destinations: [
            { kind: 'keyVault', secret: 'token' }
            { kind: 'keyVault', secret: '{gateway}_token' }
            { kind: 'keyVault', secret: '{gatway}-token' }
            { kind: 'kubernetes', server: 'https://k8s', namespace: 'Gateways' }
            { kind: 'kubernetes', server: 'https://k8s', secret: '-{gateway}' }
            { kind: 'kubernetes', server: 'https://k8s', secret: '{gateway}..a' }
            { kind: 'kubernetes', server: 'https://k8s', restart: { name: 'Gateway' } }
            { kind: 'kubernetes', server: 'https://k8s', restart: { kind: 'StatefulSet', name: '{gateway}.a' } }
            { kind: 'kubernetes', cluster: 'plant-{service}' }
            { kind: 'keyVault', vault: replace(sample.vault, 'contoso', '{gateway}') }
            {
              kind: 'kubernetes'
              server: 'https://k8s'
              restart: { name: '{gateway}' }
              restarts: [{ name: '{gateway}' }, { name: '{gateway}-' }]
            }
          ]
        }
      }
    }
  }
}
param signIn = sample.signIn
param alerts = 'none'
