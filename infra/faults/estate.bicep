metadata name = 'Faults of the estate'
metadata description = 'What is wrong with an estate, in words: the path, what is there and what belongs there.'

import {
  apiManagementIds
  atRow
  clusterIds
  clusterType
  destinationType
  documentBytes
  estateType
  filledIn
  gatewayRuleType
  idsIn
  inherited
  isNamedCluster
  resourceGroupsOf
  serviceAccountTokenType
  serviceType
  signInSecretIds
  vaultIds
  workloadType
} from '../estate.bicep'
import {
  alphanumeric
  digits
  idFaults
  isEnclosed
  isName
  isText
  letters
  lowerCase
  sample
  templateIdFaults
  unless
} from 'texts.bicep'

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
    : [
        ...ruleFaults('estate.defaults', estate.?defaults ?? {}, newVaultId)
        ...flatten(map(
          items(estate.?clusters ?? {}),
          cluster => clusterFaults('estate.clusters.${cluster.key}', cluster.key, cluster.value)
        ))
        ...flatten(map(
          items(estate.services),
          service =>
            serviceFaults('estate.services.${service.key}', service.key, service.value, estate, newVaultId)
        ))
      ]

func serviceFaults(path string, name string, service serviceType, estate estateType, newVaultId string?) string[] => [
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
  ...ruleFaults('${path}.defaults', service.?defaults ?? {}, newVaultId)
  ...flatten(map(
    items(service.?gateways ?? {}),
    rule => [
      ...unless(
        isText(rule.key, 1, 80, [...alphanumeric, '-', '.', '_', '~', '*']),
        '${path}.gateways has "${rule.key}"',
        'A gateway\'s name or pattern holds up to 80 letters, digits, hyphens, dots, underscores, tildes and *.'
      )
      ...ruleFaults('${path}.gateways[\'${rule.key}\']', rule.value, newVaultId)
      ...flatten(map(
        inherited(estate, service, rule.value),
        (destination, index) =>
          rowFaults(
            '${path}.gateways[\'${rule.key}\'].destinations[${index}]',
            estate,
            destination,
            name,
            rule.key,
            newVaultId
          )
      ))
    ]
  ))
]

// Of a destination where it is written, whichever rules inherit it.
func ruleFaults(path string, rule gatewayRuleType, newVaultId string?) string[] =>
  flatten(map(
    rule.?destinations ?? [],
    (destination, index) => destinationFaults('${path}.destinations[${index}]', destination, newVaultId)
  ))

func destinationFaults(path string, destination destinationType, newVaultId string?) string[] =>
  destination.kind == 'keyVault'
    ? keyVaultFaults(path, destination, newVaultId)
    : kubernetesFaults(path, destination)

// Of a destination once it is known whose it is.
func rowFaults(
  path string,
  estate estateType,
  destination destinationType,
  service string,
  pattern string,
  newVaultId string?
) string[] =>
  isNamedCluster(destination) && !contains(
      objectKeys(estate.?clusters ?? {}),
      toLower(filledIn(destination.cluster, service, pattern))
    )
    ? [
        '${path}.cluster is "${destination.cluster}". It must be the resource id of an AKS cluster, or a name in estate.clusters.'
      ]
    : [
        // A digit stands for whatever the wildcard stands for.
        ...(empty(destinationFaults(path, destination, newVaultId))
          ? destinationFaults(
              path,
              atRow(estate, destination, toLower(service), toLower(replace(pattern, '*', '0'))),
              newVaultId
            )
          : [])
        ...(contains(pattern, '*')
          ? patternFaults(path, destination, atRow(estate, destination, service, '{gateway}'))
          : [])
      ]

// Of a destination of many gateways, as it is written and as the service and the named cluster fill it in.
func patternFaults(path string, written destinationType, filled destinationType) string[] => [
  ...unless(
    contains(
      string([filled.?secret, filled.?vault, filled.?server, filled.?cluster, filled.?namespace]),
      '{gateway}'
    ),
    '${path}.secret is "${written.?secret}"',
    'Every gateway of the pattern would be written there: add {gateway}.'
  )
  ...flatten(map(
    [
      ...(filled.?restart == null ? [] : [{ path: '${path}.restart', name: filled.restart!.name }])
      ...map(
        filled.?restarts ?? [],
        (workload, index) => { path: '${path}.restarts[${index}]', name: workload.name }
      )
    ],
    workload =>
      unless(
        contains(string([workload.name, filled.?namespace, filled.?server, filled.?cluster]), '{gateway}'),
        '${workload.path}.name is "${workload.name}"',
        'Every gateway of the pattern would restart it: add {gateway}.'
      )
  ))
  ...unless(
    !contains(string([filled.?vault, filled.?cluster, filled.?signIn]), '{gateway}'),
    '${path} holds {gateway} in the id of a vault or a cluster, so nobody knows beforehand what to grant',
    'Use {service} there, or name the gateways one by one.'
  )
]

func keyVaultFaults(path string, destination destinationType, newVaultId string?) string[] => [
  ...(destination.?vault == null
    ? (newVaultId == null
        ? ['${path}.vault is missing. Give the resource id of a vault, or newVaultName.']
        : [])
    : vaultFaults('${path}.vault', destination.vault!))
  ...secretFaults('${path}.secret', destination.?secret ?? '{gateway}-token')
]

func clusterFaults(path string, name string, cluster clusterType) string[] => [
  ...unless(
    isText(name, 1, 80, [...lowerCase, ...digits, '-', '.', '_', '~']),
    'estate.clusters has "${name}"',
    'The name of a cluster holds up to 80 small letters, digits, hyphens, dots, underscores and tildes.'
  )
  ...serverFaults('${path}.server', cluster.server)
  ...tokenFaults('${path}.signIn', cluster.?signIn)
]

func serverFaults(path string, server string?) string[] =>
  server == null || startsWith(server ?? '', 'https://')
    ? []
    : ['${path} is "${server}". It must be an https:// address.']

func tokenFaults(path string, signIn serviceAccountTokenType?) string[] =>
  signIn == null
    ? []
    : [...vaultFaults('${path}.vault', signIn!.vault), ...secretFaults('${path}.secret', signIn!.secret)]

func secretFaults(path string, secret string) string[] =>
  unless(
    isText(sample(secret), 1, 127, [...alphanumeric, '-']),
    '${path} is "${secret}"',
    'The name of a secret holds up to 127 letters, digits and hyphens, and {service} and {gateway}.'
  )

func kubernetesFaults(path string, destination destinationType) string[] => [
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
  ...serverFaults('${path}.server', destination.?server)
  ...(startsWith(destination.?cluster ?? '', '/')
    ? templateIdFaults(
        '${path}.cluster',
        destination.cluster!,
        'Microsoft.ContainerService/managedClusters',
        'an AKS cluster'
      )
    : [])
  ...tokenFaults('${path}.signIn', destination.?signIn)
  ...unless(
    length(sample(destination.?namespace ?? 'default')) <= 63 && isLabels([
      sample(destination.?namespace ?? 'default')
    ]),
    '${path}.namespace is "${destination.?namespace}"',
    'A namespace holds up to 63 small letters, digits and hyphens, with a letter or digit at either end, and {service} and {gateway}.'
  )
  ...objectNameFaults('${path}.secret', destination.?secret ?? '{gateway}-token')
  ...(destination.?restart == null ? [] : workloadFaults('${path}.restart', destination.restart!))
  ...flatten(map(
    destination.?restarts ?? [],
    (workload, index) => workloadFaults('${path}.restarts[${index}]', workload)
  ))
  ...(destination.?restart == null || destination.?restarts == null
    ? []
    : ['${path} has both restart and restarts. Give one of them.'])
]

func workloadFaults(path string, workload workloadType) string[] => [
  ...objectNameFaults('${path}.name', workload.name)
  ...(workload.?kind == 'StatefulSet' && (contains(workload.name, '.') || length(workload.name) > 63)
    ? [
        '${path}.name is "${workload.name}". The name of a StatefulSet holds no dot and at most 63 characters.'
      ]
    : [])
]

// DNS-1123: https://kubernetes.io/docs/concepts/overview/working-with-objects/names
func objectNameFaults(path string, name string) string[] =>
  unless(
    length(name) <= 253 && isLabels(split(sample(name), '.')),
    '${path} is "${name}"',
    'A name in Kubernetes holds small letters, digits, hyphens and dots, {service} and {gateway}, with a letter or digit at either end and around each dot.'
  )

func isLabels(labels string[]) bool =>
  empty(filter(
    labels,
    label =>
      !(isText(label, 1, 253, [...lowerCase, ...digits, '-']) && isEnclosed(label, [...lowerCase, ...digits]))
  ))

func sizeFaults(estate estateType, newVaultId string?, ids string[]) string[] => [
  ...(documentBytes(estate, newVaultId) > mostBytes
    ? [
        'estate becomes a settings document of ${documentBytes(estate, newVaultId)} bytes. An app setting holds ${mostBytes}: write what rules share into defaults and clusters, use patterns in place of single gateways, or deploy a second copy of the app for a part of the services.'
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
  templateIdFaults(path, id, 'Microsoft.KeyVault/vaults', 'a Key Vault')
