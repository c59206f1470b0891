/** The status page, what it is made of, and the same as JSON. */

import { createHash } from 'node:crypto'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { Status } from '@dvt-relayer/api/schemas.ts'
import { CodedError } from '@dvt-relayer/common/errors.ts'
import { readTextSync } from '@dvt-relayer/common/files/text-file.ts'
import { findUnused } from '../../services/status/unused.ts'
import type { Bind, Call } from '../bind.ts'
import { matchesTag } from '../conditional.ts'
import type { ApiContext } from '../context.ts'
import { Rendered } from '../rendered.ts'
import { helpPage, RUNBOOK_FILE } from '../status/help.ts'
import { awayPage, STATUS_CSP, statusPage } from '../status/page.ts'

/** Beside the program in a bundle (deploy/bundle.ts). */
const ASSETS = new URL(import.meta.url.endsWith('.ts') ? '../status/assets/' : './assets/', import.meta.url).pathname
const PAGE = 'text/html; charset=utf-8'

type StatusCall = Call<typeof routes.getStatus> | Call<typeof routes.getStatusPage>

/** Adds the routes. */
export function statusRoutes(bind: Bind, { config, auth, health, manager, services }: ApiContext): void {
  const [style, script] = [
    Buffer.from(readTextSync(`${ASSETS}style.css`)),
    Buffer.from(readTextSync(`${ASSETS}live.js`)),
  ]
  let help: Buffer | undefined

  function find({ caller, query, request, route }: StatusCall): Promise<Status> {
    // What a wallet has signed is not shown to more than may have it sign.
    if (config.manager !== undefined) auth.assertWallet(request, route)
    return services.status.of(caller, query, {
      address: manager.address,
      ready: health.state(),
      doubts: health.doubts(),
    })
  }

  bind(routes.getStatus, async (call) => {
    call.reply.header('cache-control', 'private, no-store')
    return find(call)
  })

  bind(routes.getStatusPage, async (call) => {
    try {
      return answerText(call, PAGE, Buffer.from(statusPage(await find(call))), true)
    } catch (error) {
      if (!(error instanceof CodedError) || !error.code.startsWith('DATABASE_')) throw error
      call.reply.code(503)
      return answerText(
        call,
        PAGE,
        Buffer.from(
          awayPage({ ready: health.state(), unused: findUnused(config, undefined), doubts: health.doubts() }),
        ),
        true,
      )
    }
  })

  bind(routes.getStatusHelp, async (call) => {
    help ??= Buffer.from(helpPage(readTextSync(RUNBOOK_FILE)))
    return answerText(call, PAGE, help, false)
  })
  bind(routes.getStatusStyle, async (call) => answerText(call, 'text/css; charset=utf-8', style, false))
  bind(routes.getStatusScript, async (call) => answerText(call, 'text/javascript; charset=utf-8', script, false))

  bind(routes.getRoot, async ({ reply }) => {
    // Relative, so that it leads on under whatever path a proxy serves this.
    reply.code(302).header('location', 'status')
    return ''
  })
}

/** Answers with a text of the page or its assets, or with a 304 to who has it. */
function answerText(
  { request, reply }: Pick<StatusCall, 'request' | 'reply'>,
  type: string,
  text: Buffer,
  isPrivate: boolean,
): Rendered<string> {
  const tag = `"${createHash('sha256').update(text).digest('base64url')}"`
  reply.header('etag', tag).header('cache-control', `${isPrivate ? 'private' : 'public'}, no-cache`)
  if (isPrivate) reply.header('vary', 'authorization')
  reply.header('content-security-policy', STATUS_CSP)
  reply.header('x-content-type-options', 'nosniff').header('referrer-policy', 'no-referrer')
  if (reply.statusCode === 200 && matchesTag(request.headers['if-none-match'], tag)) {
    reply.code(304)
    return new Rendered<string>(undefined)
  }
  reply.type(type)
  return new Rendered<string>(text)
}
