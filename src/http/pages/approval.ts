import type { Hono } from 'hono';
import { html } from 'hono/html';
import type { Approval } from '../../approvals/approval.ts';
import type { Approvals, Examined } from '../../approvals/approvals.ts';
import type { Decider, DecisionRefusal } from '../../approvals/deciders.ts';
import { Refusal } from '../../base/errors.ts';
import { textParts, withHiddenShown } from '../../base/hidden-characters.ts';
import type { BrowserSession } from '../../identity/browser-sessions.ts';
import { personAtBrowser } from '../../identity/person.ts';
import { field, formField } from './forms.ts';
import { type Fragment, messagePage, page, problem } from './layout.ts';
import { lineChanges } from './line-changes.ts';
import type { SignIn } from './sign-in.ts';
import type { PageContext, PageEnv, Visitors } from './visitors.ts';

type Deps = { approvals: Approvals; visitors: Visitors; signIn: SignIn };

/** Longer arguments are shown as a whole only on request, and only there they can be approved, characters. */
const SHOWN = 20_000;
const MAX_REASON = 500;
/** What was asked for on the page. */
const ALL = 'all';

/** `/approvals/{id}`: the whole call, and the forms that decide on it. To look at the page changes nothing. */
export class ApprovalPage {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  mount(app: Hono<PageEnv>): void {
    const { signIn } = this.#deps;
    const here = (c: PageContext) => `/approvals/${encodeURIComponent(c.req.param('id') ?? '')}`;
    app.get('/approvals/:id', (c) => signIn.signedIn(c, here(c), (session) => this.#show(c, session)));
    app.post('/approvals/:id', (c) => signIn.signedIn(c, here(c), (session) => this.#decide(c, session)));
  }

  async #decide(c: PageContext, session: BrowserSession): Promise<Response> {
    const { approvals, visitors, signIn } = this.#deps;
    const id = c.req.param('id') ?? '';
    const here = `/approvals/${encodeURIComponent(id)}`;
    const decider = deciderOf(session, visitors);
    const reason = field(c, 'reason').trim().slice(0, MAX_REASON) || undefined;
    try {
      const approval = await approvals.get(id, decider.caller);
      switch (field(c, 'decision')) {
        case 'approve':
          if (approvals.refusalTo(decider, approval)?.needsProof)
            return await signIn.freshlyProven(c, here, () => c.redirect(here, 303));
          if (field(c, 'shown') !== ALL)
            return await this.#show(c, session, 'Look at the whole call before you approve it.');
          await approvals.approve(id, decider);
          break;
        case 'reject':
          await approvals.reject(id, decider, reason);
          break;
        case 'cancel':
          await approvals.cancel(id, decider, reason);
          break;
        default:
          return await this.#show(c, session, 'Choose one of the buttons.');
      }
    } catch (error) {
      if (!(error instanceof Refusal) || error.kind === 'unavailable') throw error;
      return this.#show(c, session, `${error.message}.`, error.kind === 'forbidden' ? 403 : 409);
    }
    return c.redirect(here, 303);
  }

  async #show(
    c: PageContext,
    session: BrowserSession,
    wrong?: string,
    status: 400 | 403 | 409 = 400,
  ): Promise<Response> {
    const { approvals, visitors } = this.#deps;
    const decider = deciderOf(session, visitors);
    let approval: Approval;
    try {
      approval = await approvals.get(c.req.param('id') ?? '', decider.caller);
    } catch (error) {
      if (!(error instanceof Refusal) || error.kind !== 'not_found') throw error;
      return c.html(missingPage(), 404);
    }
    const pending = approval.state === 'pending';
    const view: PageView = {
      hidden: formField(visitors, c),
      wrong,
      whole: c.req.query('show') === ALL,
      refusal: approvals.refusalTo(decider, approval),
      own: decider.caller.principal === `User:${approval.requester.owner}`,
      examined: pending ? await approvals.examine(approval) : undefined,
    };
    return c.html(approvalPage(approval, view), wrong === undefined ? 200 : status);
  }
}

type PageView = {
  hidden: Fragment;
  wrong: string | undefined;
  /** All of the arguments were asked for. */
  whole: boolean;
  refusal: DecisionRefusal | undefined;
  own: boolean;
  examined: Examined | undefined;
};

function deciderOf(session: BrowserSession, visitors: Visitors): Decider {
  return { caller: personAtBrowser(session), way: 'page', fresh: visitors.isFresh(session) };
}

function missingPage(): Fragment {
  return messagePage(
    'There is no such approval',
    'Its address has a typo, it is too old, or it is none of yours. Whoever may decide on it sees it here.',
  );
}

function approvalPage(approval: Approval, view: PageView): Fragment {
  const { requester, project, tool, terms, policy } = approval;
  const text = JSON.stringify(JSON.parse(approval.argumentsText), null, 2);
  const complete = view.whole || text.length <= SHOWN;
  const who = requester.tokenName ?? requester.principal;
  const body = html`<section>
<h1>${title(approval)}</h1>
${problem(view.wrong === undefined ? undefined : withHiddenShown(view.wrong))}
<dl><dt>Tool</dt><dd><strong>${marked(tool)}</strong></dd>
<dt>Asked by</dt><dd>${marked(who)}, a credential of <strong>${requester.owner}</strong></dd>
<dt>Project</dt><dd>${project.name} (${approval.surface})</dd>
<dt>Held by</dt><dd>${policy.policy}, rule ${policy.rule + 1}</dd>
<dt>Decided by</dt><dd>${terms.approvers.length > 0 ? terms.approvers.join(', ') : 'whoever has the right'}</dd>
<dt>Asked</dt><dd>${time(approval.requestedAt)}</dd>
${approval.state === 'pending' ? html`<dt>Waits until</dt><dd>${time(approval.expiresAt)}</dd>` : ''}
${approval.decidedAt === null ? '' : html`<dt>${approval.state === 'cancelled' ? 'Cancelled' : 'Decided'}</dt><dd>${time(approval.decidedAt)} by ${approval.decidedBy}</dd>`}
${approval.reason === null ? '' : html`<dt>Reason</dt><dd>${marked(approval.reason)}</dd>`}
${approval.executedAt === null ? '' : html`<dt>Made</dt><dd>${time(approval.executedAt)}</dd>`}
</dl>
</section>
<section>
<h2>Arguments</h2>
<p class="hint">Exactly what is sent. A character that would not be seen is shown by its number, such as <mark>U+202E</mark>.</p>
<pre class="call" tabindex="0">${marked(complete ? text : text.slice(0, SHOWN))}</pre>
${complete ? '' : html`<p class="note bad">This is not all: the first ${SHOWN} of ${text.length} characters. <a href="?show=${ALL}">Show everything</a>, then decide.</p>`}
</section>
${approval.state === 'pending' ? decisionSection(approval, view, complete) : ''}
<section>
<h2>The tool, as its server describes it</h2>
${definitionText(approval, view.examined)}
</section>`;
  return page({ title: title(approval), wide: true }, body);
}

function decisionSection({ id }: Approval, view: PageView, complete: boolean): Fragment {
  const { hidden, refusal, own, examined } = view;
  const stale = examined && 'void' in examined ? examined.void : undefined;
  const later = examined && 'later' in examined ? examined.later : undefined;
  const cancel = html`<form class="inline" method="post" action="/approvals/${id}">${hidden}
<button class="second" name="decision" value="cancel">Take the request back</button></form>`;
  if (refusal && !refusal.needsProof) {
    return html`<section><h2>Decision</h2><p class="note">You cannot decide on this: ${refusal.sentence}.</p>
${own ? cancel : ''}</section>`;
  }
  const approve = refusal?.needsProof
    ? html`<a class="button" href="/sign-in?again=1&amp;next=${encodeURIComponent(`/approvals/${id}`)}">Prove that it is you, then approve</a>`
    : complete && stale === undefined
      ? html`<button name="decision" value="approve">Approve and make the call</button>`
      : html`<button disabled>Approve</button>`;
  return html`<section>
<h2>Decision</h2>
${stale === undefined ? '' : html`<p class="note bad">It cannot be approved any more: ${marked(stale)}.</p>`}
${later === undefined ? '' : html`<p class="note">It cannot be made right now: ${marked(later)}.</p>`}
<form method="post" action="/approvals/${id}">${hidden}
${complete ? html`<input type="hidden" name="shown" value="${ALL}">` : ''}
${approve}
</form>
<form method="post" action="/approvals/${id}">${hidden}
<label for="reason">Reason, said to the caller of a call that you reject</label>
<input id="reason" name="reason" type="text" maxlength="${MAX_REASON}" autocomplete="off">
<button class="second" name="decision" value="reject">Reject</button>
</form>
${own ? cancel : ''}
</section>`;
}

/** With what has changed since, if anything has. */
function definitionText({ definition }: Approval, examined: Examined | undefined): Fragment {
  const asked = JSON.stringify(definition, null, 2);
  const now = examined && 'definition' in examined ? examined.definition : undefined;
  if (now === undefined) return html`<pre class="call" tabindex="0">${marked(asked)}</pre>`;
  const lines = lineChanges(asked, JSON.stringify(now, null, 2)).map(({ line, was, is }) => {
    if (was && is) return html`  ${marked(line)}\n`;
    return was ? html`<del>- ${marked(line)}</del>\n` : html`<ins>+ ${marked(line)}</ins>\n`;
  });
  return html`<p class="note bad">It has changed since the call was asked for: - is how it was, + is how it is.</p>
<pre class="call" tabindex="0">${lines}</pre>`;
}

const TITLES: Readonly<Record<Approval['state'], string>> = {
  pending: 'A call waits for your decision',
  approved: 'Approved',
  executing: 'Approved, and being made',
  succeeded: 'Approved and made',
  failed: 'Approved and made, and it failed',
  unknown: 'Approved and sent, and nobody knows what became of it',
  rejected: 'Rejected',
  expired: 'Expired',
  cancelled: 'Taken back',
  void: 'Void',
};

function title({ state, terms }: Approval): string {
  return state === 'approved' && terms.executeOn === 'retry'
    ? 'Approved: it is made when its caller calls again'
    : TITLES[state];
}

function marked(text: string): Fragment {
  return html`${textParts(text).map((part) => ('text' in part ? part.text : html`<mark>${part.hidden}</mark>`))}`;
}

function time(at: number): Fragment {
  const iso = new Date(at).toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`;
}
