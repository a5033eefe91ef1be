metadata name = 'Estate'
metadata description = 'The estate parameter: its types, and what follows from it. Mirrors the settings document GATEWAY_TOKENS.'

// ---------------------------------------------------------------------------------------------------------
// Types. A test compares them with the JSON Schema of the settings document, name by name.
// ---------------------------------------------------------------------------------------------------------

@export()
@sealed()
@description('The API Management services, how their self-hosted gateways are renewed, and who may do what.')
type estateType = {
  @description('Required. API Management services by the name that callers use.')
  services: servicesType

  @description('Optional. What rules leave out, and the defaults of their services too. Destinations are inherited as a whole.')
  defaults: gatewayRuleType?

  @description('Optional. Clusters by the name that destinations use: small letters, digits, hyphens, dots, underscores and tildes.')
  clusters: clustersType?

  @description('Optional. Who may issue, renew, read and revoke. Without a rule nobody may do anything.')
  access: accessRuleType[]?

  @description('Optional. When nothing that can wait is renewed or restarted.')
  freeze: freezeType[]?

  @description('Optional. Whether Azure is asked once a day if each stored token is still good. Default: true.')
  checkAlive: bool?
}

type servicesType = {
  @description('Required. One API Management service.')
  *: serviceType
}

type clustersType = {
  @description('Required. One cluster.')
  *: clusterType
}

@export()
@sealed()
@description('A cluster that destinations name.')
type clusterType = {
  @description('Required. The address of the API server.')
  server: string

  @description('Optional. The certificate authority of the API server, in PEM.')
  certificateAuthority: string?

  @description('Optional. A service account\'s token in Key Vault. Default: the app\'s identity signs in.')
  signIn: serviceAccountTokenType?
}

@export()
@sealed()
@description('One API Management service.')
type serviceType = {
  @description('Required. The resource id of the API Management service, in any resource group or subscription.')
  resourceId: string

  @description('Optional. What this service\'s rules leave out. Destinations are inherited as a whole.')
  defaults: gatewayRuleType?

  @description('Optional. Rules by gateway name or pattern; the most literal match wins.')
  gateways: gatewaysType?
}

type gatewaysType = {
  @description('Required. How the gateways that this name or pattern matches are renewed.')
  *: gatewayRuleType
}

@export()
@sealed()
@description('How the gateways of a pattern are renewed.')
type gatewayRuleType = {
  @description('Optional. False leaves these gateways alone. Default: true.')
  renew: bool?

  @description('Optional. How long each token lives, as an ISO 8601 duration. Default, and most: P30D.')
  lifetime: string?

  @description('Optional. How long before its expiry a token is renewed. Default: a third of its lifetime.')
  renewBefore: string?

  @description('Optional. How long before its expiry a token counts as at risk. Default: half of renewBefore.')
  riskMargin: string?

  @description('Optional. The key that signs these tokens. Default: the key in use, primary at first.')
  keyType: ('primary' | 'secondary')?

  @description('Optional. Move to the other key and regenerate the one that is left, again and again. Default: never.')
  rotateKeys: rotateKeysType?

  @description('Optional. Others use the keys too: a person regenerates them, not this app. Default: false.')
  otherConsumers: bool?

  @description('Optional. Where each token is delivered.')
  destinations: destinationType[]?

  @description('Optional. When what can wait is renewed and restarted. Default: at any time.')
  windows: windowType[]?

  @description('Optional. Leaves these gateways alone until then.')
  pause: pauseType?
}

@export()
@sealed()
@description('Hours on days of the week in which gateways may restart.')
type windowType = {
  @description('Optional. The days on which it begins, such as Mon-Fri or Sat,Sun. Default: Mon-Sun.')
  days: string?

  @description('Required. When it begins, by the clocks of its time zone, such as 22:00.')
  from: string

  @description('Required. When it ends; on the next day unless later than from.')
  to: string

  @description('Optional. A name of the IANA database, such as Europe/Berlin. Default: UTC.')
  timeZone: string?
}

@export()
@sealed()
@description('Until when gateways are left alone.')
type pauseType = {
  @description('Required. When it ends, as an ISO 8601 time with its offset.')
  until: string

  @description('Required. Why, for people.')
  @minLength(1)
  @maxLength(200)
  reason: string
}

@export()
@sealed()
@description('A time in which nothing that can wait is renewed or restarted.')
type freezeType = {
  @description('Required. When it begins, as an ISO 8601 time with its offset.')
  from: string

  @description('Required. When it ends, as an ISO 8601 time with its offset.')
  to: string

  @description('Required. Why, for people.')
  @minLength(1)
  @maxLength(200)
  reason: string
}

@sealed()
@description('How often a gateway moves to its other key.')
type rotateKeysType = {
  @description('Required. An ISO 8601 duration, P65D at least.')
  every: string
}

@export()
@discriminator('kind')
@description('A place where a gateway reads its token. Its names and addresses may hold {service} and {gateway}; in a resource id {gateway} is for gateways named one by one, since rights follow from it.')
type destinationType = keyVaultSecretType | kubernetesSecretType

@sealed()
@description('A Key Vault secret.')
type keyVaultSecretType = {
  @description('Required. The kind of destination.')
  kind: 'keyVault'

  @description('Optional. Take over a value that this app did not write. Default: false.')
  adopt: bool?

  @description('Conditional. The resource id of the vault. The settings document gets its address instead. Default: the vault that newVaultName makes.')
  vault: string?

  @description('Optional. The secret\'s name. Default: {gateway}-token.')
  secret: string?

  @description('Optional. What is stored: `GatewayKey <token>` (header) or the bare token. Default: header.')
  form: ('header' | 'token')?
}

@sealed()
@description('A Kubernetes Secret.')
type kubernetesSecretType = {
  @description('Required. The kind of destination.')
  kind: 'kubernetes'

  @description('Optional. Take over a value that this app did not write. Default: false.')
  adopt: bool?

  @description('Conditional. The address of the API server. Required without cluster.')
  server: string?

  @description('Conditional. The resource id of an AKS cluster, or a name in clusters. Required without server.')
  cluster: string?

  @description('Optional. The certificate authority of the API server, in PEM.')
  certificateAuthority: string?

  @description('Optional. A service account\'s token in Key Vault. Default: the app\'s identity signs in.')
  signIn: serviceAccountTokenType?

  @description('Optional. The namespace. Default: default.')
  namespace: string?

  @description('Optional. The Secret\'s name. Default: {gateway}-token.')
  secret: string?

  @description('Optional. Which way of installing the gateway the Secret suits. Default: helm.')
  layout: ('helm' | 'portal' | 'envFrom')?

  @description('Optional. The workload that reads the Secret, restarted after each change.')
  restart: workloadType?

  // A type cannot be an object or an array. In the settings document both are `restart`.
  @description('Optional. The workloads that read the Secret, in place of restart where there are several.')
  restarts: workloadType[]?
}

@export()
@sealed()
@description('A Kubernetes service account\'s token, kept in Key Vault.')
type serviceAccountTokenType = {
  @description('Required. The resource id of the vault. The settings document gets its address instead.')
  vault: string

  @description('Required. The name of the secret, which must exist.')
  secret: string
}

@export()
@sealed()
@description('A workload that reads a Secret.')
type workloadType = {
  @description('Optional. The kind of workload. Default: Deployment.')
  kind: ('Deployment' | 'StatefulSet' | 'DaemonSet' | 'Rollout')?

  @description('Required. Its name.')
  name: string

  @description('Optional. How long a restart may take before it counts as failed, as an ISO 8601 duration. Default: PT3M.')
  timeout: string?
}

@export()
@sealed()
@description('What some caller may do with some gateways.')
type accessRuleType = {
  @description('Required. Who the rule is about: every trait named must hold.')
  caller: callerType

  @description('Required. Patterns of service/gateway, one at least.')
  gateways: string[]

  @description('Required. What is permitted, one thing at least.')
  allow: ('issue' | 'renew' | 'read' | 'revoke')[]

  @description('Optional. The longest token that this caller may have, as an ISO 8601 duration.')
  maxLifetime: string?
}

@sealed()
@description('Who a rule is about.')
type callerType = {
  @description('Conditional. An app role in the caller\'s token. One trait at least is required.')
  appRole: string?

  @description('Conditional. The caller\'s object id in Entra. One trait at least is required.')
  objectId: string?

  @description('Conditional. The calling application\'s client id. One trait at least is required.')
  clientId: string?

  @description('Conditional. Every caller with a key of the function app and without a bearer token. One trait at least is required.')
  functionKey: bool?
}

@export()
@sealed()
@description('A secret and its vault, by their names.')
type secretType = {
  @description('Required. The name of the vault.')
  vault: string

  @description('Required. The name of the secret.')
  secret: string
}

// ---------------------------------------------------------------------------------------------------------
// What follows from the estate. Resource ids are lower-cased, so that the same resource is granted once however
// it is spelled.
// ---------------------------------------------------------------------------------------------------------

@export()
@description('The settings document as text: the estate with the address of each vault in place of its resource id, and without nulls. Destinations that name no vault get the new one. An address ends in the given suffix.')
func documentText(estate estateType, newVaultId string?, vaultSuffix string) string =>
  string(shallowMerge([
    estate.?defaults == null ? {} : { defaults: ruleOf(estate.defaults!, newVaultId, vaultSuffix) }
    estate.?clusters == null
      ? {}
      : { clusters: mapValues(estate.clusters!, cluster => clusterOf(cluster, vaultSuffix)) }
    { services: mapValues(estate.services, service => serviceOf(service, newVaultId, vaultSuffix)) }
    { access: map(estate.?access ?? [], rule => accessRuleOf(rule)) }
    empty(estate.?freeze ?? []) ? {} : { freeze: estate.freeze! }
    estate.?checkAlive == null ? {} : { checkAlive: estate.checkAlive! }
  ]))

@export()
@description('How many bytes the settings document has at most, in any cloud.')
func documentBytes(estate estateType, newVaultId string?) int =>
  reduce(
    flatten(map(partsOf(estate, newVaultId), part => piecesOf(part))),
    0,
    (total, piece) => total + bytes(piece)
  )

// Rule by rule and piece by piece, since Azure evaluates no text of more than 131,072 characters.
func partsOf(estate estateType, newVaultId string?) string[] => [
  '{"services":{},"access":,"checkAlive":false}'
  defaultsPart(estate.?defaults, newVaultId)
  string(map(estate.?access ?? [], rule => accessRuleOf(rule)))
  empty(estate.?freeze ?? []) ? '' : '"freeze":${string(estate.freeze!)},'
  estate.?clusters == null ? '' : '"clusters":{},'
  ...map(
    items(estate.?clusters ?? {}),
    cluster => '"${cluster.key}":${string(clusterOf(cluster.value, '.the-longest-of-suffixes'))},'
  )
  ...flatten(map(items(estate.services), service => [
    '"${service.key}":{"resourceId":"${service.value.resourceId}","gateways":{}},'
    defaultsPart(service.value.?defaults, newVaultId)
    ...map(
      items(service.value.?gateways ?? {}),
      rule => '"${rule.key}":${string(ruleOf(rule.value, newVaultId, '.the-longest-of-suffixes'))},'
    )
  ]))
]

func defaultsPart(defaults gatewayRuleType?, newVaultId string?) string =>
  defaults == null ? '' : '"defaults":${string(ruleOf(defaults!, newVaultId, '.the-longest-of-suffixes'))},'

func piecesOf(text string) string[] =>
  map(
    range(0, length(text) / 30000 + 1),
    index => substring(text, index * 30000, min(30000, length(text) - index * 30000))
  )

// In base64, every three bytes are four characters, and each byte that is missing at the end is a `=`.
func bytes(text string) int => length(base64(text)) / 4 * 3 - length(split(base64(text), '=')) + 1

#disable-next-line use-user-defined-types
func serviceOf(service serviceType, newVaultId string?, vaultSuffix string) object =>
  shallowMerge([
    { resourceId: service.resourceId }
    service.?defaults == null ? {} : { defaults: ruleOf(service.defaults!, newVaultId, vaultSuffix) }
    { gateways: mapValues(service.?gateways ?? {}, rule => ruleOf(rule, newVaultId, vaultSuffix)) }
  ])

#disable-next-line use-user-defined-types
func clusterOf(cluster clusterType, vaultSuffix string) object =>
  shallowMerge([withoutNulls(cluster), signInOf(cluster.?signIn, vaultSuffix)])

#disable-next-line use-user-defined-types
func signInOf(signIn serviceAccountTokenType?, vaultSuffix string) object =>
  signIn == null
    ? {}
    : { signIn: { vault: vaultAddress(signIn!.vault, vaultSuffix), secret: signIn!.secret } }

#disable-next-line use-user-defined-types
func ruleOf(rule gatewayRuleType, newVaultId string?, vaultSuffix string) object =>
  shallowMerge([
    withoutNulls(rule)
    rule.?windows == null ? {} : { windows: map(rule.windows!, window => withoutNulls(window)) }
    rule.?destinations == null
      ? {}
      : {
          destinations: map(
            rule.destinations!,
            destination => destinationOf(destination, newVaultId, vaultSuffix)
          )
        }
  ])

#disable-next-line use-user-defined-types
func destinationOf(destination destinationType, newVaultId string?, vaultSuffix string) object =>
  shallowMerge([
    withoutNulls(destination)
    destination.kind == 'keyVault'
      ? { vault: vaultAddress(destination.?vault ?? newVaultId!, vaultSuffix) }
      : {}
    signInOf(destination.?signIn, vaultSuffix)
    destination.?restart == null ? {} : { restart: withoutNulls(destination.restart!) }
    empty(destination.?restarts ?? [])
      ? {}
      : { restart: map(destination.restarts!, workload => withoutNulls(workload)) }
  ])

#disable-next-line use-user-defined-types
func accessRuleOf(rule accessRuleType) object =>
  shallowMerge([withoutNulls(rule), { caller: withoutNulls(rule.caller) }])

// Of objects of any type, on purpose. Calls of it must not be nested: the engine takes that for a cycle.
// `restarts` becomes `restart`.
#disable-next-line use-user-defined-types
func withoutNulls(values object) object =>
  toObject(
    filter(items(values), entry => entry.value != null && entry.key != 'restarts'),
    entry => entry.key,
    entry => entry.value
  )

func vaultAddress(id string, vaultSuffix string) string => 'https://${nameOf(id)}${vaultSuffix}'

@export()
@description('The resource ids of the API Management services.')
func apiManagementIds(estate estateType) string[] =>
  distinct(map(items(estate.services), service => toLower(service.value.resourceId)))

@export()
@description('The resource ids of the API Management services whose gateways\' keys the app may regenerate.')
func regeneratingIds(estate estateType, allowRevoke bool) string[] =>
  allowRevoke
    ? apiManagementIds(estate)
    : distinct(map(
        filter(
          items(estate.services),
          service =>
            !empty(filter(
              items(service.value.?gateways ?? {}),
              rule => rotates([rule.value, service.value.?defaults ?? {}, estate.?defaults ?? {}])
            ))
        ),
        service => toLower(service.value.resourceId)
      ))

// Of a rule and the defaults that it inherits, the nearest that settles it.
func rotates(levels gatewayRuleType[]) bool =>
  (first(filter(
    levels,
    level => level.?rotateKeys != null || level.?keyType != null || !(level.?renew ?? true)
  )) ?? {}).?rotateKeys != null

@export()
@description('The ids of the subscriptions that the API Management services are in.')
func subscriptionsOf(estate estateType) string[] =>
  distinct(map(items(estate.services), service => split(toLower(service.value.resourceId), '/')[2]))

@export()
@description('The resource ids of the vaults that tokens are written to.')
func vaultIds(estate estateType, newVaultId string?) string[] =>
  distinct(map(destinationsOf(estate, 'keyVault'), destination => toLower(destination.?vault ?? newVaultId!)))

@export()
@description('The resource ids of the AKS clusters that are asked for their address.')
func clusterIds(estate estateType) string[] =>
  distinct(map(
    filter(destinationsOf(estate, 'kubernetes'), destination => (destination.?cluster != null)),
    destination => toLower(destination.cluster)
  ))

@export()
@description('The resource ids of the secrets that hold service accounts\' tokens.')
func signInSecretIds(estate estateType) string[] =>
  distinct(map(
    filter(destinationsOf(estate, 'kubernetes'), destination => (destination.?signIn != null)),
    destination => toLower('${destination.signIn.vault}/secrets/${destination.signIn.secret}')
  ))

@export()
@description('The resource groups of resource ids.')
func resourceGroupsOf(ids string[]) string[] => distinct(map(ids, id => resourceGroupOf(id)))

@export()
@description('The resource ids among the ids that are in the resource group.')
func idsIn(resourceGroupId string, ids string[]) string[] =>
  filter(ids, id => (resourceGroupOf(id) == resourceGroupId))

@export()
@description('The names of the resources among the ids that are in the resource group.')
func namesIn(resourceGroupId string, ids string[]) string[] =>
  map(idsIn(resourceGroupId, ids), id => nameOf(id))

@export()
@description('The name of the resource that an id names.')
func nameOf(id string) string => split(id, '/')[8]

@export()
@description('The secrets among the ids that are in the resource group: vault and name of each.')
func secretsIn(resourceGroupId string, ids string[]) secretType[] =>
  map(idsIn(resourceGroupId, ids), id => { vault: nameOf(id), secret: split(id, '/')[10] })

func resourceGroupOf(id string) string => join(take(split(id, '/'), 5), '/')

// Of rules that renew: nothing is granted for gateways that are left alone.
func destinationsOf(estate estateType, kind string) destinationType[] =>
  flatten(map(
    items(estate.services),
    service =>
      flatten(map(
        filter(
          items(service.value.?gateways ?? {}),
          rule => (rule.value.?renew ?? service.value.?defaults.?renew ?? estate.?defaults.?renew ?? true)
        ),
        rule =>
          map(
            filter(inherited(estate, service.value, rule.value), destination => (destination.kind == kind)),
            destination => atRow(estate, destination, service.key, rule.key)
          )
      ))
  ))

@export()
@description('The destinations of a rule: its own, or those of the nearest defaults that have some.')
func inherited(estate estateType, service serviceType, rule gatewayRuleType) destinationType[] =>
  rule.?destinations ?? service.?defaults.?destinations ?? estate.?defaults.?destinations ?? []

@export()
@description('A destination with the names of its row in place, and with the cluster that it names.')
func atRow(estate estateType, destination destinationType, service string, gateway string) destinationType =>
  json(replace(
    replace(
      string(shallowMerge([
        destination
        { secret: destination.?secret ?? '{gateway}-token' }
        isNamedCluster(destination)
          ? {
              cluster: null
              ...(estate.?clusters[?toLower(filledIn(destination.cluster, service, gateway))] ?? {})
            }
          : {}
      ])),
      '{service}',
      service
    ),
    '{gateway}',
    gateway
  ))

@export()
@description('Whether a destination names a cluster, and does not give the id of one.')
func isNamedCluster(destination destinationType) bool => !startsWith(destination.?cluster ?? '/', '/')

@export()
@description('A name or address with the row\'s service and gateway in place.')
func filledIn(template string, service string, gateway string) string =>
  replace(replace(template, '{service}', service), '{gateway}', gateway)

func distinct(values string[]) string[] => union(values, values)
