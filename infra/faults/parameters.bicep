metadata name = 'Faults of parameters'
metadata description = 'What is wrong with the parameters beside the estate, in words.'

import { existingRolesType, inboundType, networkType, topicNamesType } from '../types.bicep'
import {
  alphanumeric
  digits
  idFaults
  isEnclosed
  isGroupName
  isGuid
  isText
  isVaultName
  lowerCase
  optionalIdFaults
  unless
} from 'texts.bicep'

@export()
@description('What is wrong with the names of what is made.')
func nameFaults(name string, resourceGroupName string, newVaultName string?) string[] => [
  ...unless(
    isText(name, 3, 20, [...lowerCase, ...digits, '-']) && isEnclosed(name, [...lowerCase, ...digits]),
    'name is "${name}"',
    'It holds 3 to 20 small letters, digits and hyphens, with a letter or digit at either end: a function app is called so.'
  )
  ...unless(
    isGroupName(resourceGroupName),
    'resourceGroupName is "${resourceGroupName}"',
    'It holds up to 90 letters, digits, hyphens, underscores, parentheses and dots, and does not end in a dot.'
  )
  ...(newVaultName == null
    ? []
    : unless(
        isVaultName(newVaultName!),
        'newVaultName is "${newVaultName}"',
        'It holds 3 to 24 letters, digits and single hyphens, begins with a letter and does not end in a hyphen.'
      ))
]

@export()
@description('What is wrong with the virtual network.')
func networkFaults(network networkType?) string[] =>
  network == null
    ? []
    : [
        ...subnetFaults('network.integrationSubnetId', network.?integrationSubnetId ?? '')
        ...subnetFaults('network.privateEndpointSubnetId', network.?privateEndpointSubnetId ?? '')
        ...zoneFaults('network.blobDnsZoneId', network.?blobDnsZoneId)
        ...zoneFaults('network.queueDnsZoneId', network.?queueDnsZoneId)
        ...(toLower(network.?integrationSubnetId ?? '') == toLower(network.?privateEndpointSubnetId ?? '')
          ? ['network names one subnet twice. The app and private endpoints need a subnet each.']
          : [])
      ]

@export()
@description('What is wrong with who reaches the app.')
func inboundFaults(inbound inboundType?) string[] =>
  inbound == null
    ? []
    : [
        ...(inbound.?privateEndpointSubnetId == null && inbound.?allowedAddresses == null
          ? [
              'inbound closes nothing. Give privateEndpointSubnetId, allowedAddresses or both, or leave it out.'
            ]
          : [])
        ...(inbound.?privateEndpointSubnetId == null
          ? []
          : subnetFaults('inbound.privateEndpointSubnetId', inbound.?privateEndpointSubnetId ?? ''))
        ...zoneFaults('inbound.dnsZoneId', inbound.?dnsZoneId)
        ...(inbound.?dnsZoneId != null && inbound.?privateEndpointSubnetId == null
          ? [
              'inbound.dnsZoneId is for a private endpoint. Give privateEndpointSubnetId as well, or leave it out.'
            ]
          : [])
        ...(inbound.?allowedAddresses != null && empty(inbound.?allowedAddresses)
          ? [
              'inbound.allowedAddresses is empty, so every call would get 403. Give address ranges, or leave it out.'
            ]
          : [])
        ...flatten(map(
          inbound.?allowedAddresses ?? [],
          (range, index) =>
            unless(
              length(split(range, '/')) == 2 && isText(
                range,
                5,
                49,
                [...digits, ...hexadecimal, '.', ':', '/']
              ),
              'inbound.allowedAddresses[${index}] is "${range}"',
              'It must be an address range such as 203.0.113.0/24.'
            )
        ))
      ]

@export()
@description('What is wrong with the schedule and with numbers of instances.')
func scaleFaults(renewalSchedule string, alwaysReady int, maximumInstanceCount int) string[] => [
  ...unless(
    contains([5, 6], length(split(trim(renewalSchedule), ' '))),
    'renewalSchedule is "${renewalSchedule}"',
    'It must have six fields with a blank between two, seconds first, such as 0 0 * * * * for hourly.'
  )
  ...(alwaysReady > maximumInstanceCount
    ? [
        'alwaysReady is ${alwaysReady}, more than maximumInstanceCount (${maximumInstanceCount}). Raise the one or lower the other.'
      ]
    : [])
]

func subnetFaults(path string, id string) string[] =>
  idFaults(path, id, 'Microsoft.Network/virtualNetworks/subnets', 'a subnet')

func zoneFaults(path string, id string?) string[] =>
  optionalIdFaults(path, id, 'Microsoft.Network/privateDnsZones', 'a private DNS zone')

@export()
@description('What is wrong with the roles that exist already.')
func roleFaults(existingRoles existingRolesType) string[] =>
  flatten(map(
    items(existingRoles),
    role =>
      isRole(role.?value ?? roleExample)
        ? []
        : [
            'existingRoles.${role.key} is "${role.?value}". It must be the resource id of a role: ${roleExample}.'
          ]
  ))

var hexadecimal = split('a b c d e f A B C D E F', ' ')
var roleExample = '/providers/Microsoft.Authorization/roleDefinitions/00000000-0000-0000-0000-000000000000'

func isRole(id string) bool =>
  contains(toLower(id), '/providers/microsoft.authorization/roledefinitions/') && isGuid(last(split(id, '/')))

@export()
@description('What is wrong with whom alerts go to.')
func alertFaults(alerts string, email string?, actionGroupId string?) string[] => [
  ...(alerts == 'all' && email == null && actionGroupId == null
    ? [
        'alertEmail and actionGroupId are both missing, so nobody would be told. Give one, or alerts: \'none\'.'
      ]
    : [])
  ...(alerts == 'none' && (email != null || actionGroupId != null)
    ? ['alerts is "none", and yet alertEmail or actionGroupId is given. Leave one of them out.']
    : [])
  ...(email == null || length(split(email ?? '', '@')) == 2
    ? []
    : ['alertEmail is "${email}". It must be a mail address.'])
  ...optionalIdFaults('actionGroupId', actionGroupId, 'Microsoft.Insights/actionGroups', 'an action group')
]

@export()
@description('What is wrong with the system topics that exist already.')
func topicFaults(existingEventTopics topicNamesType, services string[]) string[] =>
  flatten(map(items(existingEventTopics), topic => [
    ...(contains(map(services, id => last(split(id, '/'))), topic.key)
      ? []
      : [
          'existingEventTopics.${topic.key}: the estate has no service of that name. Keys are the names of API Management services in lower case.'
        ])
    ...unless(
      isText(topic.value, 3, 50, [...alphanumeric, '-']),
      'existingEventTopics.${topic.key} is "${topic.value}"',
      'It must be the name of a system topic, not its id.'
    )
  ]))
