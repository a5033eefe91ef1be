metadata name = 'Faults of callers'
metadata description = 'What is wrong with access rules and sign-in, in words.'

import { accessRuleType, estateType } from '../estate.bicep'
import { signInType } from '../types.bicep'
import { alphanumeric, guidFaults, isText, unless } from 'texts.bicep'

@export()
@description('What is wrong with the access rules of an estate, given how callers prove who they are.')
func accessFaults(estate estateType, signIn signInType?, allowFunctionKeys bool) string[] =>
  flatten(map(
    estate.?access ?? [],
    (rule, index) => [
      ...ruleOfAccessFaults(
        'estate.access[${index}]',
        rule,
        map(objectKeys(estate.services), name => toLower(name))
      )
      ...modeFaults('estate.access[${index}].caller', rule, signIn, allowFunctionKeys)
    ]
  ))

func ruleOfAccessFaults(path string, rule accessRuleType, services string[]) string[] => [
  ...(rule.caller.?appRole == null && rule.caller.?objectId == null && rule.caller.?clientId == null && !(rule.caller.?functionKey ?? false)
    ? ['${path}.caller names nobody. Give appRole, objectId, clientId or functionKey: true.']
    : [])
  ...((rule.caller.?functionKey ?? false) && (rule.caller.?appRole != null || rule.caller.?objectId != null || rule.caller.?clientId != null)
    ? [
        '${path}.caller names functionKey and more. A caller who sends a token beside a key is identified by the token: give functionKey alone.'
      ]
    : [])
  ...guidFaults('${path}.caller.objectId', rule.caller.?objectId)
  ...guidFaults('${path}.caller.clientId', rule.caller.?clientId)
  ...(empty(rule.gateways)
    ? ['${path}.gateways is empty, so the rule opens nothing. Give patterns of service/gateway.']
    : [])
  ...(empty(rule.allow)
    ? ['${path}.allow is empty, so the rule permits nothing. Give issue, renew or read.']
    : [])
  ...flatten(map(
    rule.gateways,
    (pattern, index) => patternFaults('${path}.gateways[${index}] is "${pattern}"', pattern, services)
  ))
]

func patternFaults(what string, pattern string, services string[]) string[] =>
  length(split(pattern, '/')) == 2 && isText(pattern, 3, 131, [...alphanumeric, '/', '-', '.', '_', '~', '*'])
    ? unless(
        contains(split(pattern, '/')[0], '*') || contains(services, toLower(split(pattern, '/')[0])),
        what,
        'The estate has no service of that name.'
      )
    : ['${what}. It must be service/gateway, where * stands for any text.']

func modeFaults(path string, rule accessRuleType, signIn signInType?, allowFunctionKeys bool) string[] =>
  (rule.caller.?functionKey ?? false)
    ? (allowFunctionKeys
        ? []
        : ['${path}.functionKey can never match. Set allowFunctionKeys, or name the caller by its token.'])
    : (signIn == null
        ? ['${path} can never match, since nobody can sign in. Give signIn, or functionKey: true.']
        : (rule.caller.?clientId == null || contains(
              map(signIn.?allowedApplications ?? [], id => toLower(id)),
              toLower(rule.caller.?clientId ?? '')
            )
            ? []
            : [
                '${path}.clientId is "${rule.caller.?clientId}", which can never match. Add it to signIn.allowedApplications.'
              ]))

@export()
@description('What is wrong with how callers sign in.')
func signInFaults(signIn signInType?, allowFunctionKeys bool) string[] =>
  signIn == null
    ? (allowFunctionKeys ? [] : ['signIn is missing. Give the app registration, or set allowFunctionKeys.'])
    : [
        ...guidFaults('signIn.clientId', signIn.?clientId)
        ...guidFaults('signIn.tenantId', signIn.?tenantId)
        ...(empty(signIn.?allowedApplications)
          ? [
              'signIn.allowedApplications is empty, so every call would get 403. Give the client ids of the callers.'
            ]
          : [])
        ...flatten(map(
          signIn.?allowedApplications ?? [],
          (id, index) => guidFaults('signIn.allowedApplications[${index}]', id)
        ))
        ...(signIn.?audiences != null && empty(signIn.?audiences)
          ? ['signIn.audiences is empty, so no token would be accepted. Leave it out, or give audiences.']
          : [])
      ]
