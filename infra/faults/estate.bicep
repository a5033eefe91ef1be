metadata name = 'Faults of the estate'
metadata description = 'What is wrong with an estate, in words: the path, what is there and what belongs there.'

import {
  apiManagementIds
  clusterIds
  destinationType
  documentBytes
  estateType
  gatewayRuleType
  idsIn
  resourceGroupsOf
  serviceType
  signInSecretIds
  vaultIds
} from '../estate.bicep'
import { alphanumeric, digits, idFaults, isEnclosed, isName, isTemplate, isText, letters, lowerCase, unless } from 'texts.bicep'

// One app setting holds 100,000 bytes. Of the 800 resources of one template, each resource group takes up to four, and
// each resource up to three in the template of its group.
var mostBytes = 100000
var mostGroups = 200
var mostInOneGroup = 250

@export()
@description('What is wrong with the services of an estate and with its size.')
func estateFaults(estate estateType, newVaultId string?) string[] =>
  empty(servicesFaults(estate, newVaultId))
    ? sizeFaults(
        estate,
        newVaultId,
        [
          ...apiManagementIds(estate)
          ...vaultIds(estate, newVaultId)
          ...clusterIds(estate)
          ...signInSecretIds(estate)
        ]
      )
    : servicesFaults(estate, newVaultId)

func servicesFaults(estate estateType, newVaultId string?) string[] =>
  empty(estate.services)
    ? ['estate.services is empty. Name an API Management service.']
    : flatten(map(
        items(estate.services),
        service => serviceFaults('estate.services.${service.key}', service.key, service.value, newVaultId)
      ))

func serviceFaults(path string, name string, service serviceType, newVaultId string?) string[] => [
  ...unless(
    isName(name, 1, 50, [...alphanumeric, '-'], letters),
    'estate.services has "${name}"',
    'The name of a service begins with a letter and holds up to 50 letters, digits and hyphens.'
  )
  ...idFaults(
    '${path}.resourceId',
    service.resourceId,
    'Microsoft.ApiManagement/service',
    'an API Management service'
  )
  ...flatten(map(
    items(service.?gateways ?? {}),
    rule => [
      ...unless(
        isText(rule.key, 1, 80, [...alphanumeric, '-', '.', '_', '~', '*']),
        '${path}.gateways has "${rule.key}"',
        'A gateway\'s name or pattern holds up to 80 letters, digits, hyphens, dots, underscores, tildes and *.'
      )
      ...ruleFaults('${path}.gateways[\'${rule.key}\']', rule.key, rule.value, newVaultId)
    ]
  ))
]

func ruleFaults(path string, pattern string, rule gatewayRuleType, newVaultId string?) string[] =>
  flatten(map(
    rule.?destinations ?? [],
    (destination, index) =>
      destinationFaults('${path}.destinations[${index}]', pattern, destination, newVaultId)
  ))

func destinationFaults(path string, pattern string, destination destinationType, newVaultId string?) string[] => [
  ...(destination.kind == 'keyVault'
    ? keyVaultFaults(path, destination, newVaultId)
    : kubernetesFaults(path, pattern, destination))
  ...(contains(pattern, '*') && !contains(destination.?secret ?? '{gateway}', '{gateway}')
    ? [
        '${path}.secret is "${destination.?secret}". Every gateway of the pattern would be written there: add {gateway}.'
      ]
    : [])
]

func keyVaultFaults(path string, destination destinationType, newVaultId string?) string[] => [
  ...(destination.?vault == null
    ? (newVaultId == null
        ? ['${path}.vault is missing. Give the resource id of a vault, or newVaultName.']
        : [])
    : vaultFaults('${path}.vault', destination.vault!))
  ...unless(
    isTemplate(destination.?secret ?? '{gateway}-token', 127, [...alphanumeric, '-']),
    '${path}.secret is "${destination.?secret}"',
    'The name of a secret holds up to 127 letters, digits and hyphens, and {service} and {gateway}.'
  )
]

func kubernetesFaults(path string, pattern string, destination destinationType) string[] => [
  ...((destination.?server == null) == (destination.?cluster == null)
    ? [
        '${path} has ${destination.?server == null ? 'neither server nor cluster' : 'both server and cluster'}. Give one of them.'
      ]
    : [])
  ...(destination.?cluster != null && destination.?signIn != null
    ? [
        '${path} has both cluster and signIn. `cluster` is for AKS with Entra, where the app signs in by itself; give `server` with `signIn`.'
      ]
    : [])
  ...(destination.?server == null || startsWith(destination.?server ?? '', 'https://')
    ? []
    : ['${path}.server is "${destination.?server}". It must be an https:// address.'])
  ...(destination.?cluster == null
    ? []
    : idFaults(
        '${path}.cluster',
        destination.cluster!,
        'Microsoft.ContainerService/managedClusters',
        'an AKS cluster'
      ))
  ...(destination.?signIn == null
    ? []
    : [
        ...vaultFaults('${path}.signIn.vault', destination.signIn!.vault)
        ...unless(
          isText(destination.signIn!.secret, 1, 127, [...alphanumeric, '-']),
          '${path}.signIn.secret is "${destination.signIn!.secret}"',
          'The name of a secret holds up to 127 letters, digits and hyphens.'
        )
      ])
  ...unless(
    isText(destination.?namespace ?? 'default', 1, 63, [...lowerCase, ...digits, '-']) && isEnclosed(
      destination.?namespace ?? 'default',
      [...lowerCase, ...digits]
    ),
    '${path}.namespace is "${destination.?namespace}"',
    'A namespace holds up to 63 small letters, digits and hyphens, with a letter or digit at either end.'
  )
  ...objectNameFaults('${path}.secret', destination.?secret ?? '{gateway}-token')
  ...(destination.?restart == null
    ? []
    : workloadFaults('${path}.restart', pattern, destination.restart!.name))
  ...flatten(map(
    destination.?restarts ?? [],
    (workload, index) => workloadFaults('${path}.restarts[${index}]', pattern, workload.name)
  ))
  ...(destination.?restart == null || destination.?restarts == null
    ? []
    : ['${path} has both restart and restarts. Give one of them.'])
]

func workloadFaults(path string, pattern string, name string) string[] => [
  ...objectNameFaults('${path}.name', name)
  ...(contains(pattern, '*') && !contains(name, '{gateway}')
    ? ['${path}.name is "${name}". Every gateway of the pattern would restart it: add {gateway}.']
    : [])
]

func objectNameFaults(path string, name string) string[] =>
  unless(
    isTemplate(name, 253, [...lowerCase, ...digits, '-', '.']) && isEnclosed(
      name,
      [...lowerCase, ...digits, '{', '}']
    ),
    '${path} is "${name}"',
    'A name in Kubernetes holds small letters, digits, hyphens and dots, {service} and {gateway}, with a letter or digit at either end.'
  )

func sizeFaults(estate estateType, newVaultId string?, ids string[]) string[] => [
  ...(documentBytes(estate, newVaultId) > mostBytes
    ? [
        'estate becomes a settings document of ${documentBytes(estate, newVaultId)} bytes. An app setting holds ${mostBytes}: use patterns in place of single gateways, or deploy a second copy of the app for a part of the services.'
      ]
    : [])
  ...(length(resourceGroupsOf(ids)) > mostGroups
    ? [
        'estate names resources in ${length(resourceGroupsOf(ids))} resource groups. A deployment covers ${mostGroups}: deploy a second copy of the app for a part of the services.'
      ]
    : [])
  ...flatten(map(
    length(ids) > mostInOneGroup ? resourceGroupsOf(ids) : [],
    group =>
      length(idsIn(group, ids)) > mostInOneGroup
        ? [
            'estate names ${length(idsIn(group, ids))} resources in ${group}. A deployment covers ${mostInOneGroup} in one group: deploy a second copy of the app for a part of the services.'
          ]
        : []
  ))
]

func vaultFaults(path string, id string) string[] =>
  idFaults(path, id, 'Microsoft.KeyVault/vaults', 'a Key Vault')
