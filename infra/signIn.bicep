metadata name = 'Sign-in'
metadata description = 'The type of the signIn parameter: callers prove who they are with Entra.'

@export()
@description('The app registration that callers ask tokens for.')
type signInType = {
  @description('Required. The client id of the app registration.')
  clientId: string

  @description('Optional. The Entra tenant. Default: the tenant of the deployment.')
  tenantId: string?

  @description('Optional. Accepted audiences. Default: api://<clientId> and the client id itself.')
  audiences: string[]?

  @description('Optional. Client ids of the only applications that may call. Default: any that Entra gives a token.')
  allowedApplications: string[]?

  @description('Optional. Demand a function key as well. Default: false.')
  functionKeyToo: bool?
}
