import { fromHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import type { FastifyRequest } from 'fastify'
import { describe, expect, it } from 'vitest'
import { createEvents } from '../../events.ts'
import { createAuth, signedCredentials } from './auth.ts'
import { ANYBODY, signingOracle } from './caller.ts'
import { createToken, parseKeyedNodes, parseTokens } from './tokens.ts'

const vault = '0x8ae5c1046158526cf236f74d8fb88fabe2e94aca'
const operator = createToken('operator-1', 'operator', vault)
const sidecar = createToken('node-2', 'sidecar', '2,3')
const admin = createToken('root', 'admin', '*')
const oracle = createToken('oracle-1', 'oracle', `${vault},0x${'22'.repeat(20)}`)
const file = [`# our tokens`, '', operator.line, `${sidecar.line}  # second node`, admin.line, oracle.line].join('\n')

const auth = createAuth(parseTokens(file, 'tokens'), createEvents(silentLogger))
const request = (authorization?: string) => ({ headers: { authorization } }) as unknown as FastifyRequest
const basic = (password: string) => `Basic ${Buffer.from(`anyone:${password}`).toString('base64')}`

describe('tokens', () => {
  it('takes a token as Bearer and as Basic password', () => {
    for (const header of [`Bearer ${operator.token}`, `bearer ${operator.token}`, basic(operator.token)])
      expect(auth.authenticate(request(header), ['operator'], '/validators').name).toBe('operator-1')
  })

  it.each([
    [undefined, 'TOKEN_MISSING'],
    ['', 'TOKEN_MISSING'],
    ['Digest x', 'TOKEN_MISSING'],
    ['Bearer', 'TOKEN_MISSING'],
    ['Bearer wrong', 'TOKEN_UNKNOWN'],
    ['Basic !!!', 'TOKEN_MISSING'],
    [basic(''), 'TOKEN_UNKNOWN'],
    [basic(operator.token).replace('Basic', 'Digest'), 'TOKEN_MISSING'],
    [`Token ${operator.token}`, 'TOKEN_MISSING'],
    [`Bearer ${operator.token} x`, 'TOKEN_MISSING'],
    [`Basic ${Buffer.from(operator.token).toString('base64')}`, 'TOKEN_MISSING'],
    [`Bearer ${sidecar.token}`, 'TOKEN_ROLE'],
  ])('refuses %j with %s', (header, code) => {
    expect(() => auth.authenticate(request(header), ['operator'], '/validators')).toThrow(
      expect.objectContaining({ code }),
    )
  })

  it('tells the credentials of a signed request, and reads a header of blanks once only', () => {
    expect(signedCredentials(request('oracle  1:2:3 '))).toBe('1:2:3')
    expect(signedCredentials(request('Oracle '))).toBeUndefined()
    // Quadratic, this takes hours.
    expect(signedCredentials(request(`Oracle${' '.repeat(4_000_000)}x y`))).toBeUndefined()
  })

  it('lets an admin call everything and anybody call what is public', () => {
    expect(auth.authenticate(request(`Bearer ${admin.token}`), ['operator'], '/validators').role).toBe('admin')
    expect(auth.authenticate(request(), 'public', '/health').name).toBeNull()
  })

  it('binds a sidecar to its share indexes', () => {
    const caller = auth.authenticate(request(`Bearer ${sidecar.token}`), ['sidecar'], '/exits')
    expect(() => auth.assertShareIndex(caller, 3, '/exit-signature')).not.toThrow()
    expect(() => auth.assertShareIndex(caller, 1, '/exit-signature')).toThrow(
      expect.objectContaining({ code: 'TOKEN_BINDING' }),
    )
  })

  it('binds an oracle to its addresses, and to no vault', () => {
    const caller = auth.authenticate(request(`Bearer ${oracle.token}`), ['oracle'], '/oracles')
    expect(caller).toMatchObject({ role: 'oracle', vaults: undefined, shareIndexes: undefined })
    for (const own of [vault, `0x${'22'.repeat(20)}`])
      expect(() => auth.assertOracle(caller, fromHex(own, 20), '/oracles')).not.toThrow()
    const refusal = expect.objectContaining({ code: 'TOKEN_BINDING' })
    expect(() => auth.assertOracle(caller, new Uint8Array(20).fill(0x33), '/oracles')).toThrow(refusal)
    expect(() => auth.assertOracle(signingOracle(new Uint8Array(20)), fromHex(vault, 20), '/oracles')).toThrow(refusal)
  })

  it('takes no signed request where a token is wanted', () => {
    for (const header of ['Oracle x', `oracle 1732147200:${'ab'.repeat(16)}:${'cd'.repeat(65)}`])
      expect(() => auth.authenticate(request(header), ['operator', 'oracle'], '/validators')).toThrow(
        expect.objectContaining({ code: 'REQUEST_SIGNATURE_ROUTE' }),
      )
  })

  it('is open where no tokens are set', () => {
    const open = createAuth(undefined, createEvents(silentLogger))
    expect(open.authenticate(request(), ['operator'], '/').name).toBeNull()
    expect([open.isOpen, auth.isOpen]).toEqual([true, false])
  })

  it('counts each refusal by its reason, and says whose token it was where that is known', () => {
    const counted: unknown[] = []
    const events = { authRefused: (...refused: unknown[]) => void counted.push(refused) } as never
    const counting = createAuth(parseTokens(file, 'tokens'), events)
    const bound = { ...ANYBODY, name: 'node-2', shareIndexes: [2] }
    for (const refused of [
      () => counting.authenticate(request(), ['operator'], '/a'),
      () => counting.authenticate(request('Bearer wrong'), ['operator'], '/b'),
      () => counting.authenticate(request(`Bearer ${sidecar.token}`), ['operator'], '/c'),
      () => counting.authenticate(request('Oracle x'), ['operator'], '/d'),
      () => counting.assertShareIndex(bound, 3, '/e'),
      () => counting.assertShareIndex({ ...bound, node: {} as never }, 3, '/f'),
      () => counting.assertShareIndex({ ...bound, name: null }, 3, '/g'),
    ])
      expect(refused).toThrow(expect.objectContaining({ code: expect.any(String) }))
    expect(counted).toEqual([
      ['missing', '/a', undefined],
      ['unknown', '/b', undefined],
      ['role', '/c', 'node-2'],
      ['signature', '/d', undefined],
      ['binding', '/e', 'node-2'],
      ['binding', '/f', 'node-2'],
      ['binding', '/g', undefined],
    ])
  })

  it('knows a node by its key where tokens are set and the route is not everybody’s', async () => {
    const keyed = { ...ANYBODY, name: 'node:0x11' }
    const events = createEvents(silentLogger)
    const keyAuth = { authenticate: async () => keyed }
    const [tokens, signed] = [parseTokens(file, 'tokens'), request('Node x')]
    const both = createAuth(tokens, events, keyAuth)
    expect(await both.identify(signed, ['sidecar'], '/exits')).toBe(keyed)
    expect(await both.identify(signed, 'public', '/health')).toBe(ANYBODY)
    expect(await both.identify(request(`Bearer ${sidecar.token}`), ['sidecar'], '/exits')).toMatchObject({
      name: 'node-2',
    })
    expect(await createAuth(undefined, events, keyAuth).identify(signed, ['sidecar'], '/exits')).toBe(ANYBODY)
    expect(() => createAuth(tokens, events).identify(signed, ['sidecar'], '/exits')).toThrow(
      expect.objectContaining({ code: 'TOKEN_MISSING' }),
    )
  })

  it('says who may ask for keys of no vault: who may act for every vault that any token names', () => {
    const other = `0x${'22'.repeat(20)}`
    const of = (...bindings: string[]) => {
      const lines = bindings.map((binding, i) => createToken(`operator-${i}`, 'operator', binding).line)
      const tokens = parseTokens([...lines, sidecar.line, admin.line, oracle.line].join('\n'), 'tokens')
      return [...tokens.values()].flatMap(({ role, mayHaveUnowned: may }) => (role === 'operator' ? [may] : []))
    }
    expect(of(vault)).toEqual([true])
    // Two tokens of the same vaults are the same operator, however they are written.
    expect(of(vault, vault.toUpperCase().replace('0X', '0x'))).toEqual([true, true])
    expect(of(`${vault},${other}`, `${other},${vault},${other}`)).toEqual([true, true])
    expect(of(vault, '*')).toEqual([true, true])
    expect(of(vault, other)).toEqual([false, false])
    expect(of(vault, `${vault},${other}`, '*')).toEqual([false, true, true])
    expect(of(`${vault},${other}`, `${other},0x${'33'.repeat(20)}`)).toEqual([false, false])
    expect(of('*', '*')).toEqual([true, true])
  })

  it('reads which nodes need none, beside tokens that are called so', () => {
    const [one, two] = [`0x${'AB'.repeat(32)}`, `0x${'02'.repeat(32)}`]
    const called = createToken('nodes', 'sidecar', '1')
    const text = `${called.line}\nnodes ${one},${two} # both clusters\noperators 263,280\noperators 5\n`
    expect(parseKeyedNodes(text, 'tokens')).toEqual({
      nodes: new Set([one.toLowerCase(), two]),
      operators: new Set(['263', '280', '5']),
    })
    expect([...parseTokens(text, 'tokens').values()].map(({ name }) => name)).toEqual(['nodes'])
    expect(parseKeyedNodes('nodes *\noperators *', 'tokens').nodes.has('*')).toBe(true)
    // Without any token it is a file all the same: nodes may call.
    expect(parseTokens('nodes *', 'tokens').size).toBe(0)
    expect(parseKeyedNodes(file, 'tokens')).toEqual({ nodes: new Set(), operators: new Set() })
    for (const bad of ['nodes', 'nodes 0x00', 'nodes 1', 'operators 0', 'operators 1,x', 'operators 9007199254740992'])
      expect(() => parseKeyedNodes(`# x\n${bad}`, 'tokens'), bad).toThrow(/line 2: a line of (nodes|SSV operators) is/)
    expect(() => parseTokens('nodes * x', 'tokens')).toThrow('a line is: name role binding')
  })

  it('names every faulty line of the file', () => {
    const bad = [
      'a operator',
      'b king * sha256:00',
      `c sidecar 0 sha256:${'0'.repeat(64)}`,
      `d operator 0x00 sha256:${'1'.repeat(64)}`,
      `e admin ${vault} sha256:${'2'.repeat(64)}`,
      'f operator * sha256:zz',
    ]
    expect(() => parseTokens(bad.join('\n'), 'tokens')).toThrow(
      /line 1[\s\S]*line 2[\s\S]*line 3[\s\S]*line 4[\s\S]*line 5[\s\S]*line 6/,
    )
    const typo = `g operator 0x8ae5c1046158526Cf236f74D8FB88fabE2E94ACa sha256:${'3'.repeat(64)}`
    expect(() => parseTokens(typo, 'tokens')).toThrow(/line 1.*checksums/)
    expect(() => parseTokens('# nothing\n', 'tokens')).toThrow('nobody could call')
    for (const name of ['vault:0x00', 'rotation:', 'a/b', '"', 'ä', 'x'.repeat(65)])
      expect(() => parseTokens(`${name} operator * sha256:${'0'.repeat(64)}`, 'tokens'), name).toThrow(
        /line 1.*the name/,
      )
    expect(parseTokens(`${'x'.repeat(62)}.- operator * sha256:${'0'.repeat(64)}`, 'tokens').size).toBe(1)
    const reserved = `anybody operator * sha256:${'0'.repeat(64)}`
    expect(() => parseTokens(reserved, 'tokens')).toThrow('stands for requests without a token')
    expect(() => parseTokens(`${admin.line}\n${admin.line}`, 'tokens')).toThrow('stands twice')
  })
})

describe('a token shown', () => {
  it('as Basic is the password, whatever the user is called', () => {
    for (const user of ['', 'anyone', 'ä'])
      expect(
        auth.authenticate(
          request(`Basic ${Buffer.from(`${user}:${operator.token}`).toString('base64')}`),
          ['operator'],
          '/validators',
        ).name,
      ).toBe('operator-1')
  })

  it('by a browser of itself to a page of another site changes nothing', () => {
    const of = (method: string, site: string | undefined, authorization: string) =>
      ({ method, headers: { authorization, 'sec-fetch-site': site } }) as unknown as FastifyRequest
    const [kept, meant] = [basic(operator.token), `Bearer ${operator.token}`]
    const name = (shown: FastifyRequest) => auth.authenticate(shown, ['operator'], '/validators').name
    for (const site of ['cross-site', 'same-site']) {
      expect(() => name(of('POST', site, kept))).toThrow(expect.objectContaining({ code: 'TOKEN_MISSING' }))
      expect(name(of('GET', site, kept))).toBe('operator-1')
      expect(name(of('POST', site, meant))).toBe('operator-1')
    }
    for (const site of ['same-origin', 'none', undefined]) expect(name(of('POST', site, kept))).toBe('operator-1')
  })

  it('speaks for each of its vaults and share indexes, and a node for its own, and for no other', () => {
    const [one, other, third] = [1, 2, 3].map((byte) => new Uint8Array(20).fill(byte))
    const caller = { ...ANYBODY, name: 'a', vaults: [one, other] as Uint8Array[], shareIndexes: [2, 4] }
    for (const vault of [one, other]) expect(() => auth.assertVault(caller, vault ?? null, '/')).not.toThrow()
    for (const vault of [third ?? null, null]) {
      const refusal = expect.objectContaining({ code: 'TOKEN_BINDING' })
      expect(() => auth.assertVault(caller, vault, '/')).toThrow(refusal)
      expect(() => auth.assertVault(ANYBODY, vault, '/')).not.toThrow()
    }
    for (const index of [2, 4]) expect(() => auth.assertShareIndex(caller, index, '/')).not.toThrow()
    expect(() => auth.assertShareIndex(ANYBODY, 9, '/')).not.toThrow()
    for (const [by, code] of [
      [caller, 'TOKEN_BINDING'],
      [{ ...caller, node: {} as never }, 'NODE_BINDING'],
    ] as const)
      expect(() => auth.assertShareIndex(by, 3, '/')).toThrow(expect.objectContaining({ code }))
  })
})

describe('a line of the file', () => {
  const hashed = (byte: string) => `sha256:${byte.repeat(32)}`
  const hash = hashed('ab')
  const read = (...lines: string[]) => [...parseTokens(lines.join('\n'), 'tokens').values()]

  it.each(['a', 'a operator', 'a operator *', `a operator * ${hash} more`, `a operator * ${hash} two more`])(
    'has four words: %s has not',
    (line) => {
      expect(() => read(line)).toThrow(/line 1: a line is: name role binding/)
    },
  )

  it.each([
    ['sidecar', '0'],
    ['sidecar', '1,0'],
    ['sidecar', '1.5'],
    ['sidecar', '-1'],
    ['sidecar', '9007199254740992'],
    ['sidecar', '1,x'],
    ['operator', `${vault},0x00`],
    ['oracle', `0x00,${vault}`],
    ['oracle', '1'],
    ['admin', vault],
    ['admin', '1'],
  ])('is refused for what the role is not bound to: %s %s', (role, binding) => {
    expect(() => read(`a ${role} ${binding} ${hash}`)).toThrow(/line 1: (a sidecar is|an admin is|the binding of)/)
    expect(() => createToken('a', role as 'admin', binding)).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  it('is a token of its role, bound to what it names alone', () => {
    const found = read(
      `a sidecar 1,9007199254740991 ${hash}`,
      `b operator ${vault} ${hashed('bb')}`,
      `c oracle ${vault} ${hashed('cb')}`,
      `d admin * ${hashed('db')}`,
      `e operator * ${hashed('EE')}`,
    )
    const bytes = fromHex(vault, 20)
    const of = (name: string, role: string, more: object) => ({
      ...{ name, role, shareIndexes: undefined, vaults: undefined, oracles: undefined },
      ...more,
    })
    expect(found).toMatchObject([
      of('a', 'sidecar', { shareIndexes: [1, Number.MAX_SAFE_INTEGER] }),
      of('b', 'operator', { vaults: [bytes] }),
      of('c', 'oracle', { oracles: [bytes] }),
      of('d', 'admin', {}),
      of('e', 'operator', {}),
    ])
    // One of each kind is no file of nobody.
    expect(read(`a sidecar 1 ${hash}`, 'nodes *')).toHaveLength(1)
    expect(() => read('nonsense')).toThrow('line 1')
    expect(() => read(`a sidecar 1 ${hash}`, `b sidecar 1 ${hash}`)).toThrow(/line 2: the same token stands twice/)
    expect(() => read(`a sidecar 1 ${hash}`, `a sidecar 1 ${hashed('bb')}`)).toThrow(/line 2: the name a/)
  })

  it('is made with 32 bytes that nobody can guess', () => {
    expect(Buffer.from(operator.token, 'base64url')).toHaveLength(32)
    expect(createToken('operator-1', 'operator', vault).token).not.toBe(operator.token)
  })
})

describe('the validators-manager key', () => {
  const open = createAuth(undefined, createEvents(silentLogger))
  const from = (localAddress: string | undefined, headers: Record<string, string> = {}, remoteAddress = localAddress) =>
    ({ headers, socket: { localAddress, remoteAddress } }) as unknown as FastifyRequest
  const refusal = expect.objectContaining({ code: 'MANAGER_LOCAL_ONLY' })

  it.each(['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1', '::ffff:127.8.8.8'])(
    'works without tokens for what came to %s',
    (address) => {
      expect(() => open.assertWallet(from(address), '/withdraw')).not.toThrow()
    },
  )

  it.each([
    undefined,
    '',
    '10.0.0.1',
    '0.0.0.0',
    '::',
    '128.0.0.1',
    '27.0.0.1',
    '1.127.0.0',
    '::ffff:10.0.0.1',
    '::127.0.0.1',
    '::1:1',
    'fe80::1',
    'localhost',
  ])('does not for what came to %j', (address) => {
    expect(() => open.assertWallet(from(address), '/withdraw')).toThrow(refusal)
  })

  it.each(['10.0.0.1', '::ffff:10.0.0.1', 'fe80::1', ''])(
    'does not for what came to 127.0.0.1 from %j',
    (neighbour) => {
      expect(() => open.assertWallet(from('127.0.0.1', {}, neighbour), '/withdraw')).toThrow(refusal)
    },
  )

  it.each(['origin', 'forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via'])(
    'does not for what says %s',
    (name) => {
      for (const value of ['', 'null', '127.0.0.1'])
        expect(() => open.assertWallet(from('127.0.0.1', { [name]: value }), '/withdraw')).toThrow(refusal)
    },
  )

  it('works for everybody who showed a token', () => {
    for (const address of [undefined, '10.0.0.1', '::1'])
      expect(() => auth.assertWallet(from(address, { 'x-forwarded-for': '10.0.0.1' }), '/withdraw')).not.toThrow()
  })

  it('works for the vaults that a token is bound to', () => {
    const bytes = fromHex(vault, 20)
    const as = (token: string) => auth.authenticate(request(`Bearer ${token}`), ['operator'], '/withdraw')
    for (const caller of [as(operator.token), as(admin.token)])
      expect(() => auth.assertVault(caller, bytes, '/withdraw')).not.toThrow()
    expect(() => auth.assertVault(as(operator.token), bytes.with(19, 0), '/withdraw')).toThrow(
      expect.objectContaining({ code: 'TOKEN_BINDING' }),
    )
  })
})
