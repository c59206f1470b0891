import { expect, it } from 'vitest'
import { tlsFaultOf } from './tls-fault.ts'

it.each([
  ['CERT_HAS_EXPIRED', /expired/],
  ['CERT_NOT_YET_VALID', /clock/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', /another name/],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', /not signed by a CA/],
  ['SELF_SIGNED_CERT_IN_CHAIN', /not signed by a CA/],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', /not signed by a CA/],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', /not signed by a CA/],
  ['EPROTO', /handshake/],
  ['ERR_SSL_WRONG_VERSION_NUMBER', /handshake/],
])('%s', (code, words) => {
  expect(tlsFaultOf(code)).toMatch(words)
})

it('says nothing of other faults', () => {
  for (const code of ['ECONNREFUSED', 'ENOTFOUND', '28P01']) expect(tlsFaultOf(code)).toBeUndefined()
})
