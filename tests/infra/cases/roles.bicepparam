// the custom roles, defined once at a management group
using '../../../infra/roles.bicep'
