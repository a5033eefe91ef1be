// gateways in any cluster, signed in to with a service account's token that is in a vault
using '../main.bicep'

param location = 'westeurope'
param alertEmail = 'platform-team@contoso.example'

param estate = {
  services: {
    contoso: {
      resourceId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-apim/providers/Microsoft.ApiManagement/service/contoso-apim'
      gateways: {
        'plant-*': {
          destinations: [
            {
              kind: 'kubernetes' // apply kubernetes-rbac.yaml in the namespace
              server: 'https://plant.contoso.example:6443'
              // certificateAuthority: loadTextContent('plant-ca.pem') for a private one
              signIn: {
                vault: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/contoso-clusters'
                secret: 'plant-service-account'
              }
              namespace: 'gateways'
              restart: { kind: 'StatefulSet', name: '{gateway}' }
            }
          ]
        }
      }
    }
  }
  access: [
    { caller: { functionKey: true }, gateways: ['contoso/*'], allow: ['renew', 'read'] }
  ]
}

param allowFunctionKeys = true // without an app registration; `signIn` may come later
