// Asks the browser for a passkey when a form with data-passkey is sent, and sends the answer with the form.
// Without scripts the form goes without an answer, and the server says what to do.
(() => {
  const decode = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0)).buffer;
  const encode = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const decoded = (list) => (list || []).map((item) => ({ ...item, id: decode(item.id) }));

  // WebAuthn Level 3, 5.1.9 and 5.1.10; by hand where the browser does not have them yet.
  const creation = (options) => PublicKeyCredential.parseCreationOptionsFromJSON
    ? PublicKeyCredential.parseCreationOptionsFromJSON(options)
    : {
      ...options,
      challenge: decode(options.challenge),
      user: { ...options.user, id: decode(options.user.id) },
      excludeCredentials: decoded(options.excludeCredentials),
    };
  const request = (options) => PublicKeyCredential.parseRequestOptionsFromJSON
    ? PublicKeyCredential.parseRequestOptionsFromJSON(options)
    : { ...options, challenge: decode(options.challenge), allowCredentials: decoded(options.allowCredentials) };
  const json = (credential) => {
    if (credential.toJSON) {
      return credential.toJSON();
    }
    const { response } = credential;
    const octets = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
    const members = octets.filter((name) => response[name]).map((name) => [name, encode(response[name])]);
    if (response.getTransports) {
      members.push(["transports", response.getTransports()]);
    }
    return { id: credential.id, rawId: credential.id, type: credential.type, response: Object.fromEntries(members) };
  };

  let waiting = null;

  const ask = async (form, more) => {
    const options = JSON.parse(form.dataset.options);
    const credential = form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey: creation(options), ...more })
      : await navigator.credentials.get({ publicKey: request(options), ...more });
    form.elements.answer.value = JSON.stringify(json(credential));
    form.submit();
  };

  const tell = (form, text) => {
    const place = form.querySelector("[data-problem]");
    place.textContent = text;
    place.hidden = false;
    form.querySelector("button").focus();
  };

  const supported = () => Boolean(window.PublicKeyCredential && navigator.credentials);

  const explain = (form, error) => {
    if (error.name === "InvalidStateError") {
      return form.dataset.registered;
    }
    return ["NotSupportedError", "SecurityError", "TypeError"].includes(error.name)
      ? form.dataset.unsupported
      : form.dataset.cancelled;
  };

  document.querySelectorAll("[data-without-scripts]").forEach((hint) => { hint.hidden = true; });
  document.querySelectorAll("form[data-passkey]").forEach((form) => {
    const button = form.querySelector("button");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      form.querySelector("[data-problem]").hidden = true;
      if (!supported()) {
        tell(form, form.dataset.unsupported);
        return;
      }
      if (waiting) {
        waiting.abort();
      }
      button.disabled = true;
      try {
        await ask(form, {});
      } catch (error) {
        button.disabled = false;
        tell(form, explain(form, error));
      }
    });
  });

  // The browser may offer passkeys where it fills in user names; whoever ignores that notices nothing.
  const quiet = document.querySelector("form[data-passkey][data-autofill]");
  if (quiet && supported() && PublicKeyCredential.isConditionalMediationAvailable) {
    PublicKeyCredential.isConditionalMediationAvailable().then((available) => {
      if (available) {
        waiting = new AbortController();
        return ask(quiet, { mediation: "conditional", signal: waiting.signal });
      }
      return null;
    }).catch(() => null);
  }
})();
