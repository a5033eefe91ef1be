metadata name = 'Texts'
metadata description = 'Whether texts are as Azure wants them.'

// There are no regular expressions in Bicep. A text is held to a set of characters by splitting it at them.
@export()
@description('Digits.')
var digits = split('0 1 2 3 4 5 6 7 8 9', ' ')
@export()
@description('Small letters.')
var lowerCase = split('a b c d e f g h i j k l m n o p q r s t u v w x y z', ' ')
@export()
@description('Letters.')
var letters = [...lowerCase, ...map(lowerCase, letter => toUpper(letter))]
@export()
@description('Letters and digits.')
var alphanumeric = [...letters, ...digits]

@export()
@description('The fault, unless something holds.')
func unless(holds bool, what string, rule string) string[] => holds ? [] : ['${what}. ${rule}']

func others(text string, allowed string[]) string => join(split(text, allowed), '')

@export()
@description('Whether a text has a length between two bounds and no other characters than these.')
func isText(text string, least int, most int, allowed string[]) bool =>
  length(text) >= least && length(text) <= most && empty(others(text, allowed))

@export()
@description('Whether the first and the last character of a text are among these.')
func isEnclosed(text string, allowed string[]) bool =>
  contains(allowed, take(text, 1)) && contains(allowed, skip(text, max(0, length(text) - 1)))

@export()
@description('Whether a text begins with one of the characters, holds no others than these, and does not end in a hyphen.')
func isName(text string, least int, most int, allowed string[], first string[]) bool =>
  isText(text, least, most, allowed) && contains(first, take(text, 1)) && !endsWith(text, '-')

@export()
@description('A text with a letter in place of each placeholder.')
func sample(text string) string => replace(replace(text, '{gateway}', 'g'), '{service}', 's')

@export()
@description('Whether a text is a GUID.')
func isGuid(text string) bool =>
  join(map(split(text, '-'), part => string(length(part))), '-') == '8-4-4-4-12' && empty(others(
    toLower(text),
    [...digits, 'a', 'b', 'c', 'd', 'e', 'f', '-']
  ))

@export()
@description('What is wrong with an id that may be left out.')
func guidFaults(path string, id string?) string[] =>
  id == null || isGuid(id ?? '')
    ? []
    : ['${path} is "${id}". It must be an id such as 00000000-0000-0000-0000-000000000000.']

@export()
@description('Whether a resource group can be called so.')
func isGroupName(name string) bool =>
  isText(name, 1, 90, [...alphanumeric, '-', '_', '.', '(', ')']) && !endsWith(name, '.')

@export()
@description('Whether a vault can be called so.')
func isVaultName(name string) bool =>
  isName(name, 3, 24, [...alphanumeric, '-'], letters) && !contains(name, '--')

// An id of type A/b is /subscriptions/1/resourceGroups/2/providers/A/b/3; for type A/b/c, /c/4 follows.
func isId(parts string[], type string[]) bool =>
  length(parts) == length(type) * 2 + 5
    ? (toLower('${parts[0]}/${parts[1]}/${parts[3]}/${parts[5]}/${parts[6]}/${parts[7]}') == toLower('/subscriptions/resourceGroups/providers/${type[0]}/${type[1]}') && isGuid(parts[2]) && isGroupName(parts[4]) && isText(
        parts[8],
        1,
        90,
        [...alphanumeric, '-', '_', '.']
      ) && (length(type) == 2 || (toLower(parts[?9] ?? '') == toLower(type[?2] ?? '') && isText(
        parts[?10] ?? '',
        1,
        90,
        [...alphanumeric, '-', '_', '.']
      ))))
    : false

@export()
@description('What is wrong with a resource id of a type.')
func idFaults(path string, id string, type string, what string) string[] =>
  isId(split(id, '/'), split(type, '/'))
    ? []
    : [
        '${path} is "${id}". It must be the resource id of ${what}: /subscriptions/<id>/resourceGroups/<name>/providers/${typeInId(split(type, '/'))}/<name>.'
      ]

@export()
@description('What is wrong with a resource id that may hold placeholders.')
func templateIdFaults(path string, id string, type string, what string) string[] =>
  empty(idFaults(path, sample(id), type, what)) ? [] : idFaults(path, id, type, what)

@export()
@description('What is wrong with a resource id that may be left out.')
func optionalIdFaults(path string, id string?, type string, what string) string[] =>
  id == null ? [] : idFaults(path, id!, type, what)

func typeInId(type string[]) string => '${type[0]}/${join(skip(type, 1), '/<name>/')}'

@export()
@description('What a deployment with faults is refused with: the first twenty of them.')
func refusalOf(faults string[]) string =>
  join(
    [
      'The deployment is refused, and nothing is made:'
      ...take(faults, 20)
      ...(length(faults) > 20 ? ['and ${length(faults) - 20} more.'] : [])
    ],
    '\n- '
  )
