//! The choice: by name if there is one; else by what is needed, by size, by whether the prompt is an instruction, by
//! taste, by native size, by what is loaded, and at last by the manifest's order.
//!
//! Rules in the order of what hurts most when it is wrong: a model that cannot do it at all, a scaled picture, a model
//! that paints an instruction instead of following it, the wrong kind of picture, a wait for weights. Each decides only
//! among those that the one before left equal.

use crate::{instruction, taste};

/// What is known of the request.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The prompt.
    pub prompt: String,
    /// The size that was asked for.
    pub size: Option<(u32, u32)>,
    /// Whether a picture is to be changed.
    pub has_source: bool,
    /// The model that was asked for.
    pub wanted: Option<String>,
}

/// What matters of a model.
/// Plain numbers instead of the binding's types, so that the rules are tested natively.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of wit/types.wit")]
pub struct Candidate {
    pub id: String,
    pub source: String,
    pub description: String,
    pub text_to_image: bool,
    pub image_to_image: bool,
    pub edit: bool,
    pub native_size: (u32, u32),
    pub min_side: u32,
    pub max_side: u32,
    pub side_multiple: u32,
    pub sizes: Vec<(u32, u32)>,
    pub loaded: bool,
}

/// A model and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The model's id.
    pub model: String,
    /// One sentence for people.
    pub reason: String,
}

impl Candidate {
    /// Whether a name means this model: its id, its source, or its source without scheme or revision.
    fn is_called(&self, name: &str) -> bool {
        let bare = self.source.split_once(':').map_or(self.source.as_str(), |(_, rest)| rest);
        let unpinned = bare.split_once('@').map_or(bare, |(name, _)| name);
        [self.id.as_str(), &self.source, bare, unpinned].contains(&name)
    }

    /// Whether the model does this kind of work at all.
    fn can(&self, wish: &Wish) -> bool {
        if wish.has_source { self.image_to_image || self.edit } else { self.text_to_image }
    }

    /// Whether it is one of the model's sizes, or both sides are within its limits and on its grid.
    fn allows(&self, (width, height): (u32, u32)) -> bool {
        if !self.sizes.is_empty() {
            return self.sizes.contains(&(width, height));
        }
        let fits = |side: u32| {
            (self.min_side..=self.max_side).contains(&side) && side.is_multiple_of(self.side_multiple.max(1))
        };
        fits(width) && fits(height)
    }
}

/// Chooses one of the candidates, or says what is missing.
pub fn choose(wish: &Wish, candidates: &[Candidate]) -> Result<Choice, String> {
    if let Some(name) = &wish.wanted {
        return named(name, wish, candidates);
    }
    let able: Vec<_> = candidates.iter().filter(|candidate| candidate.can(wish)).collect();
    if able.is_empty() {
        return Err(format!("no model of this route {}", need(wish)));
    }
    // a size that nobody allows is no reason to refuse: the handler scales what comes out
    let fitting: Vec<_> =
        able.iter().copied().filter(|it| wish.size.is_some_and(|size| it.allows(size))).collect();
    let pool = if fitting.is_empty() { &able } else { &fitting };
    Ok(best(wish, pool, able.len()))
}

/// A name is obeyed or refused and never replaced: whoever gives one has a reason.
fn named(name: &str, wish: &Wish, candidates: &[Candidate]) -> Result<Choice, String> {
    let Some(found) = candidates.iter().find(|candidate| candidate.is_called(name)) else {
        let ids: Vec<_> = candidates.iter().map(|candidate| candidate.id.as_str()).collect();
        return Err(format!("no model of this route is called {name}; it has {}", ids.join(", ")));
    };
    if !found.can(wish) {
        return Err(format!("{} was asked for by name, but it is no model that {}", found.id, need(wish)));
    }
    Ok(Choice { model: found.id.clone(), reason: format!("{} was asked for by name.", found.id) })
}

/// What a model must do for this request, to follow "that".
fn need(wish: &Wish) -> &'static str {
    if wish.has_source { "starts from pictures" } else { "makes pictures from a prompt alone" }
}

/// The best of a pool that is not empty; the earliest among equals.
/// Compares kind of work, taste, native size and what is loaded, in this order; `able` is how many can do it at any size.
fn best(wish: &Wish, pool: &[&Candidate], able: usize) -> Choice {
    let is_instruction = wish.has_source && instruction::is_one(&wish.prompt);
    let follows = |it: &Candidate| wish.has_source && it.edit == is_instruction;
    let taste = |it: &Candidate| taste::shared(&wish.prompt, &it.description);
    let native = |it: &Candidate| wish.size == Some(it.native_size);
    let mut best = pool[0];
    for candidate in &pool[1..] {
        let key = |it: &Candidate| (follows(it), taste(it), native(it), it.loaded);
        // over and not at least: the manifest's order decides among equals
        if key(candidate) > key(best) {
            best = candidate;
        }
    }
    if is_instruction && best.edit && able > 1 {
        let reason = format!("{} changes pictures as an instruction says, and the prompt is one.", best.id);
        return Choice { model: best.id.clone(), reason };
    }
    Choice { model: best.id.clone(), reason: reason(best, able, taste(best) > 0, native(best)) }
}

/// The rule that decided, in words; the first that holds when several do.
fn reason(best: &Candidate, able: usize, taste: bool, native: bool) -> String {
    let id = &best.id;
    match (able, taste, native) {
        (1, ..) => format!("{id} is the only model of this route that can do it."),
        (_, true, _) => format!("{id} suits the kind of picture that the prompt asks for."),
        (_, _, true) => format!("{id} was trained on the size that was asked for."),
        _ if best.loaded => format!("{id} can do it and is already in memory."),
        _ => format!("{id} is the first model of this route that can do it."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, native: u32, max_side: u32, description: &str) -> Candidate {
        Candidate {
            id: id.into(),
            source: format!("hub:owner/{id}@main"),
            description: description.into(),
            text_to_image: true,
            image_to_image: true,
            edit: false,
            native_size: (native, native),
            min_side: 64,
            max_side,
            side_multiple: 8,
            sizes: Vec::new(),
            loaded: false,
        }
    }

    fn three() -> Vec<Candidate> {
        vec![
            model("nano", 128, 128, "small flat illustrations and pixel art"),
            model("sd15", 512, 1024, "photographs and paintings"),
            model("sdxl", 1024, 1536, "detailed photographs"),
        ]
    }

    fn chosen(wish: &Wish, candidates: &[Candidate]) -> String {
        choose(wish, candidates).map_or_else(|error| error, |choice| choice.model)
    }

    fn sized(side: u32, prompt: &str) -> Wish {
        Wish { size: Some((side, side)), prompt: prompt.into(), ..Wish::default() }
    }

    #[test]
    fn a_name_decides_in_every_form_that_it_can_take() {
        for name in ["sd15", "hub:owner/sd15@main", "owner/sd15", "owner/sd15@main"] {
            let wish = Wish { wanted: Some(name.into()), ..sized(128, "pixel art") };
            assert_eq!(chosen(&wish, &three()), "sd15", "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let wish = Wish { wanted: Some("dalle".into()), ..Wish::default() };
        assert_eq!(
            chosen(&wish, &three()),
            "no model of this route is called dalle; it has nano, sd15, sdxl"
        );
    }

    #[test]
    fn a_named_model_that_cannot_do_it_is_not_replaced_in_silence() {
        let mut models = three();
        models[0].image_to_image = false;
        let wish = Wish { wanted: Some("nano".into()), has_source: true, ..Wish::default() };
        assert!(choose(&wish, &models).is_err());
    }

    #[test]
    fn the_size_decides_before_everything_but_the_name() {
        assert_eq!(chosen(&sized(128, "a photo"), &three()[..2]), "sd15", "both allow it, the taste decides");
        assert_eq!(chosen(&sized(1024, "a cat"), &three()), "sdxl", "native");
        assert_eq!(chosen(&sized(512, "a cat"), &three()), "sd15", "native");
        assert_eq!(chosen(&sized(1536, "pixel art"), &three()), "sdxl", "the only one that allows it");
    }

    #[test]
    fn an_instruction_goes_to_a_model_that_edits_and_a_description_does_not() {
        let mut models = three();
        models.push(Candidate {
            edit: true,
            image_to_image: false,
            text_to_image: false,
            ..models[0].clone()
        });
        models[3].id = "nano-edit".into();
        let wish = |prompt| Wish { has_source: true, ..sized(128, prompt) };
        assert_eq!(chosen(&wish("make it night"), &models), "nano-edit");
        assert_eq!(chosen(&wish("a red boat at night"), &models), "nano");
        assert_eq!(chosen(&wish("make it night"), &models[..3]), "nano", "nobody edits");
        assert_eq!(chosen(&sized(128, "make it night"), &models), "nano", "there is nothing to edit");
    }

    #[test]
    fn when_no_model_allows_the_size_the_rest_decides() {
        assert_eq!(chosen(&sized(4096, "pixel art"), &three()), "nano");
        assert_eq!(chosen(&sized(4096, "a cat"), &three()), "nano", "the manifest's order");
    }

    #[test]
    fn a_loaded_model_is_preferred_among_equals() {
        let mut models = vec![model("one", 512, 1024, ""), model("two", 512, 1024, "")];
        models[1].loaded = true;
        assert_eq!(chosen(&sized(512, "a cat"), &models), "two");
    }

    #[test]
    fn no_model_that_can_do_it_is_an_error_that_says_what_is_missing() {
        let mut models = three();
        models.iter_mut().for_each(|model| model.image_to_image = false);
        let wish = Wish { has_source: true, ..Wish::default() };
        assert_eq!(choose(&wish, &models), Err("no model of this route starts from pictures".into()));
        assert!(choose(&Wish::default(), &[]).is_err());
    }
}
